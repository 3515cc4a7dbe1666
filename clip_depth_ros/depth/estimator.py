"""The Python door: pictures in, one encode, every head's depth and the CLIP features out."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder
from clip_depth_ros.depth.heads import DepthHead, DepthPrediction
from clip_depth_ros.depth.loading import load_network, pick_device, pick_precision
from clip_depth_ros.depth.preprocess import Preprocess
from clip_depth_ros.errors import BadInput

if TYPE_CHECKING:
    from clip_depth_ros.depth.camera import CameraModel

# Pictures often arrive as read-only views of a message; nothing here writes to them.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


@dataclass(frozen=True)
class DepthResult(Mapping[str, DepthPrediction]):
    """Every head's prediction for a batch, by head name, and the features of the same encode.

    Attributes:
        predictions: by head name, the main head first.
        pooled: ``(B, D)`` CLIP's pooled token before the projection, or None when not computed.
        tokens: ``(B, N, D)`` last hidden state after the last LayerNorm, CLS first, or None when not computed.
        embedding: ``(B, E)`` projected, unnormalised image embedding, or None where the weights hold no projection.
    """

    predictions: Mapping[str, DepthPrediction]
    pooled: Tensor | None
    tokens: Tensor | None
    embedding: Tensor | None

    def __getitem__(self, head: str) -> DepthPrediction:
        return self.predictions[head]

    def __iter__(self) -> Iterator[str]:
        return iter(self.predictions)

    def __len__(self) -> int:
        return len(self.predictions)


class DepthEstimator:
    """One frozen encoder and the heads that read it.

    Attributes:
        encoder: the shared encoder.
        heads: the heads by name, the main one first.
        canonical_focal_px: by head name, the focal length in encoder-input pixels its depth is for; heads that learnt
            one camera declare none and their depth is left as it is.
        device: where the network runs.
        identity: SHA-256 of the encoder's weights as they were loaded; empty for an encoder built by hand.
    """

    def __init__(
        self,
        encoder: SharedEncoder,
        heads: Mapping[str, DepthHead],
        device: str = "auto",
        precision: str = "auto",
        canonical_focal_px: Mapping[str, float] | None = None,
        input_size: tuple[int, int] | None = None,
        normalisation: str = "",
    ) -> None:
        """Moves the network to ``device`` and ``precision`` (see :class:`EstimatorConfig`).

        Pictures are resized to ``input_size`` (height, width) pixels, by default the encoder's own. They are normalised
        by the encoder's own mean and deviation, or by those of a ``normalisation`` (see :class:`EstimatorConfig`).

        Raises:
            BadInput: no head, a device that is not there, or an unknown normalisation.
        """
        if not heads:
            raise BadInput("A DepthEstimator needs at least one head.")
        self.device = pick_device(device)
        encoder_type, self._head_type = pick_precision(precision, self.device)
        self.encoder = encoder.to(self.device, encoder_type)
        self.heads = {name: head.to(self.device, self._head_type).eval() for name, head in heads.items()}
        self.canonical_focal_px = dict(canonical_focal_px or {})
        self.identity = ""
        self._preprocess = Preprocess(encoder.config.normalised(normalisation), input_size).to(self.device)

    @classmethod
    def from_config(cls, location: str | Path, device: str | None = None) -> DepthEstimator:
        """Loads what a ROS parameter file asks for; ``device`` overrides the file's.

        Raises:
            BadInput: the file or the weights it names cannot be used.
        """
        config = EstimatorConfig.from_yaml(location)
        return cls.from_settings(config if device is None else replace(config, device=device))

    @classmethod
    def from_settings(cls, config: EstimatorConfig) -> DepthEstimator:
        """Loads what ``config`` asks for.

        Raises:
            BadInput: the weights cannot be used, or the device is not there.
        """
        pick_device(config.device)  # before minutes of loading
        network = load_network(config)
        estimator = cls(
            network.encoder,
            network.heads,
            config.device,
            config.precision,
            network.canonical_focal_px,
            config.encoder_input_size if any(config.encoder_input_size) else None,
            config.encoder_normalisation,
        )
        estimator.identity = network.identity
        return estimator

    def __call__(
        self,
        images: np.ndarray | Tensor,
        intrinsics: ArrayLike | None = None,
        output_size: tuple[int, int] | None = None,
        tokens: bool = True,
    ) -> DepthResult:
        """Estimates depth for a batch of pictures of one size, in one encode.

        Args:
            images: uint8 RGB ``(B, H, W, 3)`` or ``(H, W, 3)``, numpy or torch.
            intrinsics: K in pixels of ``images``, ``(3, 3)`` or ``(B, 3, 3)``; gives heads with a canonical focal
                length their metric scale.
            output_size: (height, width) of the depth; the pictures' own by default.
            tokens: also compute the CLIP features when no head needs them.

        Returns:
            Predictions with B images, on the network's device.

        Raises:
            BadInput: pictures or intrinsics of another type or shape.
        """
        batch = _as_batch(images)
        count, height, width = batch.shape[:3]
        focal = [None] * count if intrinsics is None else self._focal_lengths(intrinsics, count, (height, width))
        with torch.no_grad():
            features = self._encode(batch, tokens, self.heads)
            return self._predict(features, output_size or (height, width), focal, self.heads)

    def run(
        self,
        images: Sequence[np.ndarray | Tensor],
        cameras: Sequence[CameraModel | None] | None = None,
        tokens: bool = False,
        heads: Collection[str] | None = None,
    ) -> list[DepthResult]:
        """Estimates depth for pictures whose sizes may differ, still in one encode.

        Args:
            images: uint8 RGB ``(H, W, 3)`` each.
            cameras: their cameras, None where unknown.
            tokens: also compute the CLIP features when no head needs them.
            heads: names of the heads to run; all by default, none when empty.

        Returns:
            One result a picture (B = 1), at its own size.

        Raises:
            BadInput: a picture of another type or shape.
        """
        pictures = [_as_batch(image)[0] for image in images]
        sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
        focal = [
            self._focal_lengths(camera.intrinsics, 1, size)[0] if camera is not None and camera.is_calibrated else None
            for camera, size in zip(cameras or [None] * len(pictures), sizes)
        ]
        running = {name: head for name, head in self.heads.items() if heads is None or name in heads}
        results: dict[int, DepthResult] = {}
        with torch.no_grad():
            features = self._encode(pictures, tokens, running)
            for size in dict.fromkeys(sizes):
                members = [index for index, other in enumerate(sizes) if other == size]
                group = features if len(members) == len(sizes) else features.select(members)
                result = self._predict(group, size, [focal[index] for index in members], running)
                results.update({index: _single(result, position) for position, index in enumerate(members)})
        return [results[index] for index in range(len(pictures))]

    def _encode(
        self, images: Tensor | Sequence[Tensor], tokens: bool, heads: Mapping[str, DepthHead]
    ) -> EncoderFeatures:
        pixels = self._preprocess(images).to(self.encoder.dtype)
        layers = {layer for head in heads.values() for layer in head.layers}
        return self.encoder(pixels, layers, pooled=tokens or any(head.needs_pooled for head in heads.values()))

    def _predict(
        self,
        features: EncoderFeatures,
        size: tuple[int, int],
        focal: Sequence[float | None],
        heads: Mapping[str, DepthHead],
    ) -> DepthResult:
        readable = features.to(self._head_type)
        predictions = {}
        for name, head in heads.items():
            prediction = head(readable, size)
            canonical = self.canonical_focal_px.get(name)
            if canonical is not None and any(length is not None for length in focal):
                scale = torch.tensor([1.0 if length is None else length / canonical for length in focal])
                scaled = prediction.depth * scale.to(prediction.depth.device)[:, None, None]
                prediction = replace(prediction, depth=scaled)
            predictions[name] = prediction
        return DepthResult(predictions, features.pooled, features.tokens, features.embedding)

    def _focal_lengths(self, intrinsics: ArrayLike, count: int, size: tuple[int, int]) -> list[float | None]:
        """Returns the geometric mean focal length in encoder-input pixels of each camera."""
        matrices = np.asarray(intrinsics, dtype=np.float64)
        if matrices.shape not in ((3, 3), (count, 3, 3)) or not np.isfinite(matrices).all():
            raise BadInput(
                f"Intrinsics must be finite, (3, 3) or ({count}, 3, 3), in pixels of the image; these are "
                f"{matrices.shape}."
            )
        matrices = np.broadcast_to(matrices, (count, 3, 3))
        height, width = self._preprocess.size
        horizontal, vertical = matrices[:, 0, 0] * width / size[1], matrices[:, 1, 1] * height / size[0]
        return [float(length) for length in np.sqrt(horizontal * vertical)]


def _as_batch(images: Any) -> Tensor:
    if not isinstance(images, Tensor):
        array = np.asarray(images)
        # torch cannot view a flipped array, and ``bgr[..., ::-1]`` is how many turn BGR into RGB.
        images = torch.from_numpy(array if all(stride >= 0 for stride in array.strides) else array.copy())
    batch: Tensor = images
    if batch.ndim == 3:
        batch = batch[None]
    if batch.dtype != torch.uint8 or batch.ndim != 4 or batch.shape[-1] != 3 or 0 in batch.shape:
        raise BadInput(
            f"Images must be uint8 RGB of shape (B, H, W, 3); these are {batch.dtype} of shape {tuple(batch.shape)}."
        )
    return batch


def _single(result: DepthResult, position: int) -> DepthResult:
    part = slice(position, position + 1)

    def take(value: Tensor | None) -> Tensor | None:
        return None if value is None else value[part]

    predictions = {
        name: replace(prediction, depth=prediction.depth[part], confidence=take(prediction.confidence))
        for name, prediction in result.predictions.items()
    }
    return DepthResult(predictions, take(result.pooled), take(result.tokens), take(result.embedding))
