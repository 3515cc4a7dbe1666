"""What cameras do to a picture, batched: roll, flip, exposure, colour, blur and noise.

Every draw depends on the seed, the step and the picture's place in the whole batch, so that several processes with
parts of a batch draw what one process draws for all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.base import Batch


@dataclass(frozen=True)
class AugmentationConfig:
    """Strengths; 0 switches a part off. SPACE-CLIP's own: rotation 1, probability 0.5, factors uniform, brightness,
    gamma and colour 0.1, the rest 0.

    Attributes:
        rotation: the picture is turned about its centre by up to this, degrees either way.
        flip: probability of a horizontal flip.
        probability: probability that brightness, gamma and colour (all three) change.
        factors: how brightness and gamma are drawn: ``octaves``, 2 ** (+- strength), or ``uniform``, 1 +- strength.
        brightness: strength of the exposure factor.
        gamma: strength of the exponent.
        colour: each channel's factor is drawn from 1 +- colour.
        saturation: share of grey is drawn up to this, for every other picture.
        noise: largest standard deviation of sensor noise, in grey levels.
        blur: probability of a 3 x 3 blur.
    """

    rotation: float = 0.0
    flip: float = 0.5
    probability: float = 1.0
    factors: str = "octaves"
    brightness: float = 0.6
    gamma: float = 0.4
    colour: float = 0.15
    saturation: float = 0.8
    noise: float = 8.0
    blur: float = 0.3

    def __post_init__(self) -> None:
        if self.factors not in ("octaves", "uniform"):
            raise BadInput(f"augmentation factors is {self.factors!r}: it must be octaves or uniform.")
        for name in ("flip", "probability", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"augmentation {name} is {getattr(self, name)}: a probability is between 0 and 1.")


class Place(NamedTuple):
    """Where in a training a batch is.

    Attributes:
        seed: the training's seed.
        step: the optimiser step, from 0.
        first: place of the batch's first picture in the whole batch over all processes.
    """

    seed: int
    step: int
    first: int = 0

    def generator(self, index: int) -> np.random.Generator:
        """Returns the numbers that picture ``index`` of this batch draws from."""
        return np.random.default_rng((self.seed, self.step, self.first + index))


def augment(batch: Batch, config: AugmentationConfig, place: Place) -> Batch:
    """Returns a changed copy of ``batch`` on its device; equal places give equal changes. Focal lengths stay.

    Where a turned picture shows what the camera did not see, it is black and has no depth (0).
    """
    generators = [place.generator(index) for index in range(len(batch))]
    images, depth = batch.images, batch.depth
    angles = [generator.uniform(-config.rotation, config.rotation) for generator in generators]
    if config.rotation > 0:
        images, depth = _rotated(images, depth, angles)
    flipped = [index for index, generator in enumerate(generators) if generator.random() < config.flip]
    if flipped:
        images, depth = images.clone(), depth.clone()
        images[flipped], depth[flipped] = images[flipped].flip(2), depth[flipped].flip(2)
    changed = images.clone()
    for index, generator in enumerate(generators):
        changed[index] = _photographed(images[index], config, generator)
    return replace(batch, images=changed, depth=depth)


def _rotated(images: Tensor, depth: Tensor, angles: list[float]) -> tuple[Tensor, Tensor]:
    """Returns pictures (bicubic) and depth (nearest) turned by ``angles`` degrees about their centres."""
    height, width = depth.shape[1:]
    radians = torch.deg2rad(torch.tensor(angles, dtype=torch.float32)).to(depth.device, non_blocking=True)
    cosine, sine, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # The sampling grid is in half widths and half heights, in which a turn is not square.
    rows = (cosine, -sine * height / width, zero, sine * width / height, cosine, zero)
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), [len(depth), 1, height, width], align_corners=False)
    pixels = images.permute(0, 3, 1, 2).float()
    pixels = F.grid_sample(pixels, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    turned = F.grid_sample(depth[:, None], grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return pixels.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1), turned[:, 0]


def _photographed(image: Tensor, config: AugmentationConfig, generator: np.random.Generator) -> Tensor:
    """Returns one picture ``(H, W, 3)`` uint8 with other light, and as a worse camera shows it."""
    # Everything is drawn before it is used: the draws of a picture do not depend on what is switched on.
    chance = generator.random(4)
    strength = generator.uniform(-1, 1, 2)
    tint = 1 + config.colour * generator.uniform(-1, 1, 3)
    grey_share, blur_share, grain_level, grain_seed = (*generator.random(3), int(generator.integers(2**62)))
    light = chance[0] < config.probability and max(config.brightness, config.gamma, config.colour) > 0
    grey = chance[1] < 0.5 and config.saturation > 0
    blur = chance[2] < config.blur
    if not (light or grey or blur or config.noise > 0):
        return image
    pixels = image.float().div_(255)
    if grey:
        pixels = torch.lerp(pixels, pixels.mean(-1, keepdim=True), config.saturation * grey_share)
    if light:
        exponent, exposure = _factor(config, config.gamma, strength[0]), _factor(config, config.brightness, strength[1])
        pixels = pixels.clamp_min_(1e-4).pow_(exponent).mul_(image.new_tensor(tint * exposure, dtype=torch.float32))
        pixels.clamp_(0, 1)
    if blur:
        channels = pixels.permute(2, 0, 1)[None]
        blurred = F.avg_pool2d(channels, 3, 1, 1, count_include_pad=False)[0].permute(1, 2, 0)
        pixels = torch.lerp(pixels, blurred, 0.3 + 0.7 * blur_share)
    pixels = pixels.mul_(255)
    if config.noise > 0:
        source = torch.Generator(image.device).manual_seed(grain_seed)
        grain = torch.randn(pixels.shape, generator=source, device=image.device)
        pixels.add_(grain, alpha=config.noise * grain_level * chance[3])
    return pixels.round_().clamp_(0, 255).to(torch.uint8)


def _factor(config: AugmentationConfig, strength: float, draw: float) -> float:
    """Returns the factor for a draw from -1 to 1."""
    return float(2.0 ** (strength * draw)) if config.factors == "octaves" else float(1 + strength * draw)
