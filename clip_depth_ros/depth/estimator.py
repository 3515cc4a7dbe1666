"""The Python door: pictures in, one encode, every head's depth and the CLIP features out."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from clip_depth_ros.depth.acceleration import on_host, pick_runner
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.device_cloud import CloudOptions, DeviceRays, together
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.heads import DepthHead
from clip_depth_ros.depth.loading import load_network, pick_device
from clip_depth_ros.depth.network import DepthNetwork, DepthResult, Plan
from clip_depth_ros.depth.precision import pick_precision
from clip_depth_ros.depth.preprocess import Preprocess
from clip_depth_ros.errors import BadInput

__all__ = ["DepthEstimator", "DepthResult"]

if TYPE_CHECKING:
    from clip_depth_ros.depth.camera import CameraModel

# Pictures often arrive as read-only views of a message; nothing here writes to them.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


class DepthEstimator:
    """One frozen encoder and the heads that read it.

    Attributes:
        encoder: the shared encoder, as it runs: batch norms folded and types changed, so not for storing.
        heads: the heads by name, the main one first, likewise.
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
        acceleration: str = "auto",
    ) -> None:
        """Moves the network to ``device`` and ``precision``, to run by ``acceleration`` (see :class:`EstimatorConfig`).

        Pictures are resized to ``input_size`` (height, width) pixels, by default the encoder's own. They are normalised
        by the encoder's own mean and deviation, or by those of a ``normalisation`` (see :class:`EstimatorConfig`).

        Raises:
            BadInput: no head, a device or an acceleration that is not there, or an unknown normalisation.
        """
        if not heads:
            raise BadInput("A DepthEstimator needs at least one head.")
        self.device = pick_device(device)
        self.canonical_focal_px = dict(canonical_focal_px or {})
        self.identity = ""
        self._preprocess = Preprocess(encoder.config.normalised(normalisation), input_size)
        chosen = pick_precision(precision, self.device, encoder)
        self._network = DepthNetwork(encoder, heads, self._preprocess, self.device, chosen)
        self._runner = pick_runner(acceleration, self._network, self.device)
        self._rays = DeviceRays(self.device)
        self.encoder, self.heads = self._network.encoder, self._network.heads

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
            config.acceleration,
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
        size = output_size or (height, width)
        return self._run([batch], [(count, size)], focal, tokens, tuple(self.heads))[0]

    def run(
        self,
        images: Sequence[np.ndarray | Tensor],
        cameras: Sequence[CameraModel | None] | None = None,
        tokens: bool = False,
        heads: Collection[str] | None = None,
        to_host: bool = False,
        clouds: Sequence[CloudOptions | None] = (),
        outside: Sequence[np.ndarray | None] = (),
    ) -> list[DepthResult]:
        """Estimates depth for pictures whose sizes may differ, still in one encode.

        Args:
            images: uint8 RGB ``(H, W, 3)`` each.
            cameras: their cameras, None where unknown.
            tokens: also compute the CLIP features when no head needs them.
            heads: names of the heads to run; all by default, none when empty.
            to_host: bring every result to the host, and wait until it is there.
            clouds: the points to make of each picture, where the network runs; of a picture whose camera is unknown
                all are NaN. They may differ in their heads only, which must be among those that run.
            outside: for the points, ``(H, W)`` bool each, True where a rectified picture shows nothing; or None.

        Returns:
            One result a picture (B = 1), at its own size.

        Raises:
            BadInput: a picture of another type or shape, or, for points, a camera of another size.
        """
        pictures = [_as_batch(image)[0] for image in images]
        sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
        focal = [
            self._focal_lengths(camera.intrinsics, 1, size)[0] if camera is not None and camera.is_calibrated else None
            for camera, size in zip(cameras or [None] * len(pictures), sizes)
        ]
        running = self._running(heads)
        # Pictures of one size lie side by side in the batch, so that what is theirs is a part of it without a copy.
        groups = {size: [index for index, other in enumerate(sizes) if other == size] for size in sorted(set(sizes))}
        order = [index for members in groups.values() for index in members]
        points = together(clouds)
        if points is not None and not set(points.heads) <= set(running):
            raise BadInput(f"Points of {', '.join(points.heads)} need these heads to run.")
        rays = [] if points is None else [self._rays_of(index, sizes, cameras, clouds, outside) for index in order]
        grouped = self._run(
            [pictures[index][None] for index in order],
            [(len(members), size) for size, members in groups.items()],
            [focal[index] for index in order],
            tokens,
            running,
            to_host,
            points,
            rays,
        )
        results: dict[int, DepthResult] = {}
        for members, result in zip(groups.values(), grouped):
            results.update({index: _single(result, position) for position, index in enumerate(members)})
        for index, options in enumerate(clouds):
            wanted = () if options is None else options.heads
            made = results[index].clouds
            results[index] = replace(results[index], clouds={name: made[name] for name in wanted})
        return [results[index] for index in range(len(pictures))]

    def _running(self, heads: Collection[str] | None) -> tuple[str, ...]:
        return tuple(name for name in self.heads if heads is None or name in heads)

    def _rays_of(
        self,
        index: int,
        sizes: Sequence[tuple[int, int]],
        cameras: Sequence[CameraModel | None] | None,
        clouds: Sequence[CloudOptions | None],
        outside: Sequence[np.ndarray | None],
    ) -> Tensor:
        """Returns the rays of one picture; those of a picture without points are never computed, they may take long."""
        if not cameras or clouds[index] is None:
            return self._rays.get(sizes[index], None)
        return self._rays.get(sizes[index], cameras[index], outside[index] if outside else None)

    def prepare(
        self,
        size: tuple[int, int],
        batch: int = 1,
        tokens: bool = False,
        heads: Collection[str] | None = None,
        calibrated: bool = False,
    ) -> None:
        """Makes ready what :meth:`run` needs for ``batch`` pictures of ``size`` (height, width).

        For an acceleration that builds something for each kind of batch; otherwise the first frames would run eagerly.

        Args:
            size: (height, width) pixels of the pictures.
            batch: how many there are in one run.
            tokens: as for :meth:`run`.
            heads: as for :meth:`run`.
            calibrated: whether cameras with intrinsics will come with them, by which heads are scaled.
        """
        running = self._running(heads)
        scaled = calibrated and any(self.canonical_focal_px.get(name) for name in running)
        self._runner.prepare(Plan(((1, *size, 3),) * batch, ((batch, size),), running, tokens, scaled))

    def release(self) -> None:
        """Frees what is kept for speed alone (captured graphs, rays on the device); it comes back with use."""
        self._runner.release()
        self._rays = DeviceRays(self.device)

    @property
    def path(self) -> dict[str, str]:
        """How the network is run, for people: its types, and what makes it fast."""
        state = f" ({self._runner.state})" if self._runner.state else ""
        return {"precision": self._network.precision.reason, "acceleration": f"{self._runner.name}{state}"}

    def _run(
        self,
        images: Sequence[Tensor],
        groups: Sequence[tuple[int, tuple[int, int]]],
        focal: Sequence[float | None],
        tokens: bool,
        heads: tuple[str, ...],
        to_host: bool = False,
        clouds: CloudOptions | None = None,
        rays: Sequence[Tensor] = (),
    ) -> list[DepthResult]:
        scales = self._scales(focal, heads)
        shapes = tuple(tuple(image.shape) for image in images)
        plan = Plan(shapes, tuple(groups), heads, tokens, scales is not None, clouds)
        with torch.no_grad():
            results = self._runner(plan, [*images, *rays], scales)
            return on_host(results, self.device) if to_host else results

    def _scales(self, focal: Sequence[float | None], heads: Sequence[str]) -> Tensor | None:
        """Returns what each head's depth is multiplied by for each picture, ``(heads, B)``; None for nothing at all."""
        canonical = [self.canonical_focal_px.get(name) for name in heads]
        if not any(canonical) or all(length is None for length in focal):
            return None
        rows = [[length / own if own and length else 1.0 for length in focal] for own in canonical]
        return torch.tensor(rows)

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
    return result.mapped(lambda value: value[part])
