"""Encoder and heads as one function of tensors: what the ways to run it (eager, compiled, CUDA graphs) have in common.

Nothing here waits for the device or looks at a value, so that the whole of it can be captured.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from clip_depth_ros.depth.device_cloud import CloudOptions, make_points
from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder
from clip_depth_ros.depth.heads import DepthHead, DepthPrediction
from clip_depth_ros.depth.precision import Precision, fold_batch_norms, has_batch_norm
from clip_depth_ros.depth.preprocess import Preprocess


@dataclass(frozen=True)
class DepthResult(Mapping[str, DepthPrediction]):
    """Every head's prediction for a batch, by head name, and the features of the same encode.

    Attributes:
        predictions: by head name, the main head first.
        pooled: ``(B, D)`` CLIP's pooled token before the projection, or None when not computed.
        tokens: ``(B, N, D)`` last hidden state after the last LayerNorm, CLS first, or None when not computed.
        embedding: ``(B, E)`` projected, unnormalised image embedding, or None where the weights hold no projection.
        clouds: ``(B, h, w, 4)`` float32 by head name, where they were asked for: x, y, z in metres in the optical
            frame, NaN where there is no point, and the colour as the bits 0x00RRGGBB.
    """

    predictions: Mapping[str, DepthPrediction]
    pooled: Tensor | None
    tokens: Tensor | None
    embedding: Tensor | None
    clouds: Mapping[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, head: str) -> DepthPrediction:
        return self.predictions[head]

    def __iter__(self) -> Iterator[str]:
        return iter(self.predictions)

    def __len__(self) -> int:
        return len(self.predictions)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> DepthResult:
        """Returns the result with ``change`` applied to every tensor in it."""

        def apply(value: Tensor | None) -> Tensor | None:
            return None if value is None else change(value)

        predictions = {
            name: replace(prediction, depth=change(prediction.depth), confidence=apply(prediction.confidence))
            for name, prediction in self.predictions.items()
        }
        clouds = {name: change(points) for name, points in self.clouds.items()}
        return DepthResult(predictions, apply(self.pooled), apply(self.tokens), apply(self.embedding), clouds)


@dataclass(frozen=True)
class Plan:
    """What one run computes, apart from the pictures themselves; runs of one plan have tensors of the same shapes.

    Attributes:
        shapes: of each uint8 input ``(n, H, W, 3)``; all of them are one batch.
        groups: how many of the batch leave together, in its order, and the (height, width) of their depth.
        heads: names of the heads to run.
        tokens: whether the CLIP features are wanted.
        scaled: whether depth is multiplied by a number for each picture and head.
        clouds: what points are made; then each of ``shapes`` is one picture, and the rays of each ``(3, H, W)`` follow
            the pictures as further inputs (see :class:`~clip_depth_ros.depth.device_cloud.DeviceRays`).
    """

    shapes: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, tuple[int, int]], ...]
    heads: tuple[str, ...]
    tokens: bool
    scaled: bool
    clouds: CloudOptions | None = None

    @property
    def batch(self) -> int:
        """B, the number of pictures."""
        return sum(shape[0] for shape in self.shapes)


class DepthNetwork:
    """Resize, normalisation, one encode, the heads, and depth at its size.

    Attributes:
        encoder: the shared encoder, as it runs.
        heads: the heads by name, as they run.
        preprocess: resize and normalisation.
        device: where they are.
        precision: the types they compute in.
    """

    def __init__(
        self,
        encoder: SharedEncoder,
        heads: Mapping[str, DepthHead],
        preprocess: Preprocess,
        device: torch.device,
        precision: Precision,
    ) -> None:
        """Moves everything to ``device`` and ``precision``.

        What must be changed for speed is changed in a copy: batch norms that are folded, and whatever runs in bf16.
        """
        fold = has_batch_norm(encoder)
        narrow = precision.encoder == torch.bfloat16
        if fold or narrow:
            encoder = copy.deepcopy(encoder)
        if fold:
            fold_batch_norms(encoder)
        if narrow:
            encoder.narrow(precision.encoder)
            encoder.to(device)
        else:
            encoder.to(device, precision.encoder)
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.heads = {name: _ready(head, device, precision.heads) for name, head in heads.items()}
        self.preprocess = preprocess.to(device)
        self.device = device
        self.precision = precision

    def __call__(self, plan: Plan, inputs: Sequence[Tensor], scales: Tensor | None) -> list[DepthResult]:
        """Returns a result for each of the plan's groups, on the network's device.

        Args:
            plan: what to compute.
            inputs: uint8 RGB of the plan's shapes, on the network's device or to be copied there; then the rays, if the
                plan has clouds.
            scales: ``(heads, B)`` float32 on the device, what each head's depth is multiplied by; None leaves it.
        """
        images, rays = inputs[: len(plan.shapes)], inputs[len(plan.shapes) :]
        if rays:  # which colours need the pictures, too
            images = [image.to(self.device, non_blocking=True) for image in images]
        pixels = self.preprocess(images)
        features = self.encode(pixels, plan.heads, plan.tokens)
        readable = features.to(self.precision.heads)
        results, first = [], 0
        for count, size in plan.groups:
            members = slice(first, first + count)
            factors = None if scales is None else scales[:, members]
            predictions = self.predict(readable.part(members), plan.heads, size, factors)
            clip = features.part(members)
            clouds = self._clouds(plan.clouds, predictions, images[members], rays[members]) if plan.clouds else {}
            results.append(DepthResult(predictions, clip.pooled, clip.tokens, clip.embedding, clouds))
            first += count
        return results

    def _clouds(
        self,
        options: CloudOptions,
        predictions: Mapping[str, DepthPrediction],
        images: Sequence[Tensor],
        rays: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Returns the points ``(n, h, w, 4)`` of n pictures of one size, by head."""
        pictures, directions = torch.cat(list(images)), torch.stack(list(rays))
        chosen = {name: predictions[name] for name in options.heads}
        return {
            name: make_points(prediction.depth, pictures, directions, options, prediction.valid_range)
            for name, prediction in chosen.items()
        }

    def encode(self, pixels: Tensor, heads: Sequence[str], tokens: bool) -> EncoderFeatures:
        """Encodes normalised ``(B, 3, h, w)`` once, as far as ``heads`` or the CLIP features need it."""
        running = [self.heads[name] for name in heads]
        layers = {layer for head in running for layer in head.layers}
        pooled = tokens or any(head.needs_pooled for head in running)
        features: EncoderFeatures = self.encoder(pixels.to(self.encoder.dtype), layers, pooled=pooled)
        return features

    def predict(
        self, features: EncoderFeatures, heads: Sequence[str], size: tuple[int, int], scales: Tensor | None
    ) -> dict[str, DepthPrediction]:
        """Runs ``heads`` on features of their type; ``scales`` as in :meth:`__call__`."""
        predictions = {name: self.heads[name](features, size) for name in heads}
        if scales is None:
            return predictions
        return {
            name: replace(prediction, depth=prediction.depth * factors[:, None, None])
            for (name, prediction), factors in zip(predictions.items(), scales)
        }


def _ready(head: DepthHead, device: torch.device, dtype: torch.dtype) -> DepthHead:
    if has_batch_norm(head) or dtype == torch.bfloat16:
        head = copy.deepcopy(head).eval()
        fold_batch_norms(head)
    return head.narrow(dtype).to(device).to(memory_format=torch.channels_last).eval()
