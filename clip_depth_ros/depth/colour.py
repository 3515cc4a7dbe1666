"""Depth as a picture for people: near is warm, far is cold, no reading is black."""

from __future__ import annotations

import cv2
import numpy as np

from clip_depth_ros.depth.geometry import valid_depth
from clip_depth_ros.errors import BadInput

_PERCENTILES = (2.0, 98.0)
_SAMPLES = 20_000  # pixels that the percentiles are taken from: within a percent of those of the whole image


def _palette() -> np.ndarray:
    """(256, 1, 3) uint8 RGB: black, then OpenCV's TURBO from its second colour up."""
    levels = np.arange(256, dtype=np.uint8)[:, None]
    palette = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    palette[0] = 0
    return palette


_PALETTE = _palette()


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """Returns the 2nd and 98th percentile, metres, of the readings in (H, W) ``depth``; (0, 1) where it has none."""
    step = max(1, int(np.sqrt(depth.size / _SAMPLES)))
    for sample in (depth[::step, ::step], depth):
        sample = np.ascontiguousarray(sample, np.float32)
        readings = sample[valid_depth(sample)]
        if readings.size:
            nearest, farthest = np.percentile(readings, _PERCENTILES)
            return float(nearest), float(farthest)
    return 0.0, 1.0


def colourise(
    depth: np.ndarray, minimum: float | None = None, maximum: float | None = None, out: np.ndarray | None = None
) -> np.ndarray:
    """Returns (H, W, 3) uint8 RGB: red at ``minimum`` and nearer, blue at ``maximum`` and farther.

    Args:
        depth: (H, W) float32, metres; NaN, infinite and non-positive pixels are no readings and come out black.
        minimum: metres; by default the 2nd percentile of the readings.
        maximum: metres; by default the 98th percentile of the readings.
        out: (H, W, 3) uint8 array, C-contiguous, to write to; by default a new one.

    Raises:
        BadInput: ``minimum`` is above ``maximum``.
    """
    if minimum is not None and maximum is not None and minimum > maximum:
        raise BadInput(f"the colour range starts at {minimum} m but ends at {maximum} m: give the nearer depth first")
    if minimum is None or maximum is None:
        nearest, farthest = depth_range(depth)
        minimum = min(nearest, farthest if maximum is None else maximum) if minimum is None else minimum
        maximum = max(farthest, minimum) if maximum is None else maximum
    depth = np.asarray(depth, np.float32)
    out = np.empty((*depth.shape, 3), np.uint8) if out is None else out
    return cv2.applyColorMap(_levels(depth, minimum, maximum), _PALETTE, dst=out)


def _levels(depth: np.ndarray, minimum: float, maximum: float) -> np.ndarray:
    """(H, W) float32 metres -> (H, W) uint8: 255 at ``minimum``, 1 at ``maximum``, 0 where there is no reading."""
    span = max(maximum - minimum, 1e-6)  # that of a flat image is not 0
    beyond = np.subtract(depth, np.float32(maximum))
    np.minimum(beyond, np.float32(0), out=beyond)
    # Scaled, rounded and held below 256 in one pass, which takes the absolute value: nothing here is negative.
    levels = cv2.convertScaleAbs(beyond, alpha=-254 / span, beta=1)
    readings = valid_depth(depth)
    return levels if readings.all() else np.multiply(levels, readings, out=levels)
