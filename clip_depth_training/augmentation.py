"""What cameras do to a picture, batched: flip, exposure, colour, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clip_depth_training.data_sets.base import Batch


@dataclass(frozen=True)
class AugmentationConfig:
    """Strengths; 0 switches a part off.

    Attributes:
        flip: probability of a horizontal flip.
        brightness: exposure factor is drawn from 2 ** (+- brightness).
        gamma: exponent is drawn from 2 ** (+- gamma).
        colour: each channel's factor is drawn from 1 +- colour.
        saturation: share of grey is drawn up to this.
        noise: largest standard deviation of sensor noise, in grey levels.
        blur: probability of a 3 x 3 blur.
    """

    flip: float = 0.5
    brightness: float = 0.6
    gamma: float = 0.4
    colour: float = 0.15
    saturation: float = 0.8
    noise: float = 8.0
    blur: float = 0.3


def augment(batch: Batch, config: AugmentationConfig, generator: torch.Generator) -> Batch:
    """Returns a changed copy of ``batch``; equal generators give equal changes. Focal lengths stay."""
    count = len(batch)

    def draw(low: float, high: float) -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=generator) * (high - low) + low

    images, depth = batch.images, batch.depth
    flipped = draw(0, 1) < config.flip
    images = torch.where(flipped, images.flip(2), images)
    depth = torch.where(flipped[..., 0], depth.flip(2), depth)
    pixels = images.float() / 255
    grey = pixels.mean(-1, keepdim=True)
    pixels = torch.lerp(pixels, grey, draw(0, config.saturation) * (draw(0, 1) < 0.5))
    tint = 1 + (torch.rand(count, 1, 1, 3, generator=generator) * 2 - 1) * config.colour
    exposure = torch.exp2(draw(-config.brightness, config.brightness))
    pixels = (pixels * tint * exposure).clamp(1e-4, 1) ** torch.exp2(draw(-config.gamma, config.gamma))
    blurred = F.avg_pool2d(pixels.permute(0, 3, 1, 2), 3, 1, 1, count_include_pad=False).permute(0, 2, 3, 1)
    pixels = torch.where(draw(0, 1) < config.blur, torch.lerp(pixels, blurred, draw(0.3, 1.0)), pixels)
    grain = torch.randn(pixels.shape, generator=generator)
    levels = pixels * 255 + grain * draw(0, config.noise) * draw(0, 1)
    return Batch(levels.round_().clamp_(0, 255).to(torch.uint8), depth, batch.focal)
