"""Pictures as a robot gets them on a bad day: blurred, in the dark, noisy, or in the rain.

Strengths follow the published corruption benchmarks, by their severities 1 to 5; 3 is the default:

- ImageNet-C (Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
  Perturbations", 2019): the motion blur's spread, the noise's standard deviation and photon counts. Its pictures are
  224 pixels high, and lengths in pixels grow here with the picture's shorter side, so that a network that resizes its
  input sees the published strength.
- RoboDepth (Kong et al., "RoboDepth: Robust Out-of-Distribution Depth Estimation under Corruptions", 2023), with the
  low light of 3D Common Corruptions (Kar et al., 2022): gamma 2, gain 0.6 to 0.2, and the noises above at a tenth.
- Rain is in neither. Streaks follow Garg and Nayar ("Vision and Rain", 2007): each drop is drawn out along its fall
  during the exposure and brightens what is behind it; near drops give few, long, wide, soft streaks, far ones many
  short fine ones, and the farthest a veil. Drops on the lens show the scene upside down, out of focus. No depth is
  used, so the veil is the same for near and far things.

Everything follows from the seed: the direction of the blur, each pixel's noise, each streak. Only the rain's drops on
the lens stay where they are, as on a lens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.conditions import CONDITIONS

_PUBLISHED_SIDE = 224  # pixels, ImageNet-C

_BLUR_SIGMA = (3.0, 5.0, 8.0, 12.0, 15.0)  # pixels at the published size
_NOISE_DEVIATION = (0.08, 0.12, 0.18, 0.26, 0.38)  # of full scale
_NOISE_PHOTONS = (60.0, 25.0, 12.0, 5.0, 3.0)  # at full scale
_DARK_GAIN = (0.6, 0.5, 0.4, 0.3, 0.2)
_DARK_GAMMA = 2.0

_RAIN_AMOUNT = (0.5, 0.9, 1.4, 2.0, 3.0)  # times the numbers of streaks below, and of drops on the lens
_RAIN_VEIL = (0.12, 0.19, 0.27, 0.36, 0.45)  # part of the light that is the veil's
_WIND_DEGREES = 8.0  # off the vertical, the same in every frame as wind is
_TURBULENCE_DEGREES = 2.5


@dataclass(frozen=True)
class _Layer:
    """Streaks at one distance: how many on a square picture; length and width in shorter sides; how opaque."""

    number: int
    length: float
    width: float
    opacity: float


_LAYERS = (_Layer(500, 0.035, 0.0015, 0.38), _Layer(110, 0.10, 0.003, 0.50), _Layer(9, 0.28, 0.010, 0.35))
_LENS_DROPS = 6


def degrade(image: np.ndarray, condition: str, seed: int, severity: int = 3) -> np.ndarray:
    """Returns the picture under a condition, ``(H, W, 3)`` uint8 RGB, C-contiguous, a new array.

    Args:
        image: ``(H, W, 3)`` uint8 RGB, any size from 1x1; it is not changed.
        condition: one of :data:`~clip_depth_ros.replay.conditions.CONDITIONS`.
        seed: the same seed gives the same picture; give every frame its own. 0 or more.
        severity: 1 (slight) to 5 (severe).

    Raises:
        BadInput: an unknown condition or severity, a negative seed, or something that is no such picture.
    """
    if condition not in CONDITIONS:
        raise BadInput(f"There is no condition {condition!r}: choose from {', '.join(CONDITIONS)}.")
    if severity not in range(1, 6):
        raise BadInput(f"The severity is {severity}: choose from 1 (slight) to 5 (severe).")
    if seed < 0:
        raise BadInput(f"The seed is {seed}: give 0 or more.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise BadInput(f"A picture of shape {image.shape} and type {image.dtype} cannot be degraded: give RGB bytes.")
    generator = np.random.default_rng([CONDITIONS.index(condition), severity, seed])
    return _CONDITIONS[condition](np.ascontiguousarray(image), generator, severity - 1)


def _blur(image: np.ndarray, generator: np.random.Generator, level: int) -> np.ndarray:
    """Motion during the exposure, in any direction: along a line, weights fall off like a Gaussian to one side."""
    sigma = _BLUR_SIGMA[level] * _relative_size(image)
    angle = generator.uniform(0, 2 * math.pi)
    reach = max(1, math.ceil(2 * sigma))
    # Half-pixel steps along the line, each shared between its four neighbours.
    steps = np.arange(0, reach, 0.5)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    across, down = reach + steps * math.cos(angle), reach + steps * math.sin(angle)
    # The picture as a whole stays where it is: depth is compared pixel by pixel.
    across -= np.average(across, weights=weights) - reach
    down -= np.average(down, weights=weights) - reach
    left, top = np.floor(across).astype(int), np.floor(down).astype(int)
    for right, lower in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = np.abs(1 - right - (across - left)) * np.abs(1 - lower - (down - top))
        np.add.at(kernel, (top + lower, left + right), share * weights)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def _dark(image: np.ndarray, generator: np.random.Generator, level: int) -> np.ndarray:
    """Little light: darker, most of all where it is dark already, and the few photons show."""
    table = np.linspace(0, 1, 256, dtype=np.float32) ** np.float32(_DARK_GAMMA) * np.float32(_DARK_GAIN[level])
    photons, deviation = 10 * _NOISE_PHOTONS[level], 0.1 * _NOISE_DEVIATION[level]
    return _with_noise(image, table, table / photons + deviation**2, generator)


def _noise(image: np.ndarray, generator: np.random.Generator, level: int) -> np.ndarray:
    """A sensor's noise: half of the variance is ImageNet-C's Gaussian noise, half its shot noise."""
    table = np.linspace(0, 1, 256, dtype=np.float32)
    return _with_noise(image, table, (_NOISE_DEVIATION[level] ** 2 + table / _NOISE_PHOTONS[level]) / 2, generator)


def _with_noise(
    image: np.ndarray, levels: np.ndarray, variances: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Returns the picture with each value replaced by its level (0..1) and noise of its variance, independent.

    Shot noise is taken to be normal: from a dozen photons on, that is close, and it takes a sixth of the time.
    """
    noisy = generator.standard_normal(image.shape, dtype=np.float32)
    noisy *= cv2.LUT(image, np.sqrt(variances).astype(np.float32) * 255)
    noisy += cv2.LUT(image, levels.astype(np.float32) * 255)
    return cv2.convertScaleAbs(np.maximum(noisy, 0, out=noisy))


def _rain(image: np.ndarray, generator: np.random.Generator, level: int) -> np.ndarray:
    """A veil of far rain, streaks at three distances, and drops on the lens."""
    amount = _RAIN_AMOUNT[level]
    mean = float(image.mean())
    sky = (mean + 255) / 2  # what drops and veil take their light from, as bright as the scene allows
    veil = _RAIN_VEIL[level]
    wet = cv2.convertScaleAbs(image, alpha=1 - veil, beta=veil * sky)
    opaque = np.zeros(image.shape[:2], np.uint8)
    for layer in _LAYERS:
        streaks = _streaks(image.shape[:2], layer, amount, generator)
        cv2.add(opaque, cv2.convertScaleAbs(streaks, alpha=layer.opacity), dst=opaque)
    wet = _mixed(wet, np.full_like(wet, round(min(1.15 * sky, 255))), opaque)
    _add_lens_drops(wet, round(amount * _LENS_DROPS))
    return wet


def _streaks(size: tuple[int, int], layer: _Layer, amount: float, generator: np.random.Generator) -> np.ndarray:
    """Returns a layer's streaks, ``(H, W)`` uint8: how much of a full streak covers each pixel."""
    height, width = size
    side = min(size)
    found = np.zeros(size, np.uint8)
    # Streaks start up to their length above the picture, so that its upper edge is no drier.
    number = generator.poisson(layer.number * amount * height * width / side**2)
    length = layer.length * side * generator.uniform(0.6, 1.4, number)
    angle = np.radians(_WIND_DEGREES + _TURBULENCE_DEGREES * generator.standard_normal(number))
    start = generator.uniform((-0.2 * side, -layer.length * side), (width, height), (number, 2))
    end = start + length[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)
    lines = np.round(np.stack([start, end], 1) * 16).astype(np.int32)[:, :, None]  # in sixteenths of a pixel
    thickness = max(1, round(layer.width * side))
    brightness = np.linspace(120, 255, 4)  # drops differ in size: four kinds, each drawn at once
    for kind, value in enumerate(brightness):
        cv2.polylines(found, list(lines[kind::4]), False, float(value), thickness, cv2.LINE_AA, shift=4)
    # Near drops are out of focus; lines thinner than a pixel are fainter instead.
    if thickness > 1:
        found = cv2.GaussianBlur(found, (0, 0), 0.5 * thickness)
    return cv2.convertScaleAbs(found, alpha=min(1.0, max(layer.width * side, 0.3)))


def _add_lens_drops(image: np.ndarray, number: int) -> None:
    """Draws drops on the lens into ``image``: small, round, showing a wide view upside down and out of focus."""
    height, width = image.shape[:2]
    scene = image.copy()
    on_lens = np.random.default_rng(5)  # not the frame's: drops stay on the lens
    for _ in range(number):
        across, down, size = on_lens.uniform(0, width), on_lens.uniform(0, height), on_lens.gamma(4.0, 0.25)
        radius = max(1, round(0.04 * size * min(height, width)))
        left, right = max(0, int(across) - radius), min(width, int(across) + radius + 1)
        top, bottom = max(0, int(down) - radius), min(height, int(down) + radius + 1)
        seen = scene[max(0, top - 4 * radius) : bottom + 4 * radius, max(0, left - 4 * radius) : right + 4 * radius]
        view = cv2.resize(seen[::-1, ::-1], (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        view = cv2.GaussianBlur(view, (0, 0), max(0.15 * radius, 0.3))
        rows, columns = np.ogrid[top - int(down) : bottom - int(down), left - int(across) : right - int(across)]
        distance = np.sqrt(rows**2 + columns**2) / radius
        # Darker towards the upper rim, lighter below, as the sky is upside down too.
        shade = 1 + 0.25 * distance * rows / radius
        view = cv2.convertScaleAbs(view * shade[..., None])
        opacity = np.clip((1.05 - distance) * 5, 0, 0.92)
        patch = image[top:bottom, left:right]
        patch[:] = _mixed(patch, view, cv2.convertScaleAbs(opacity, alpha=255))


def _mixed(below: np.ndarray, above: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Returns ``above`` over ``below``, ``(H, W, 3)`` uint8; opacity ``(H, W)`` uint8, 255 hides what is below."""
    part = cv2.merge([opacity] * 3)
    covered = cv2.multiply(above, part, scale=1 / 255)
    return cv2.add(covered, cv2.multiply(below, cv2.bitwise_not(part), scale=1 / 255))


def _relative_size(image: np.ndarray) -> float:
    return min(image.shape[:2]) / _PUBLISHED_SIDE


_CONDITIONS: dict[str, Callable[[np.ndarray, np.random.Generator, int], np.ndarray]] = {
    "blur": _blur,
    "dark": _dark,
    "noise": _noise,
    "rain": _rain,
}
