"""From a head's raw depth to readings: what is outside the valid range is no reading, never zero or a wall."""

from __future__ import annotations

import cv2
import numpy as np

_MOST_MILLIMETRES = 65535


def within(
    values: np.ndarray, low: float | np.float32, high: float | np.float32, out: np.ndarray | None = None
) -> np.ndarray:
    """Returns where ``values`` (float32) lie in [low, high], a bool array of the same shape; NaN lies nowhere.

    ``out``, bool of shape (2, *values.shape), is memory to work in: its first half is what is returned. By default new
    memory is taken, which costs several times what the comparing does.
    """
    inside, other = (None, None) if out is None else out
    inside = np.greater_equal(values, np.float32(low), out=inside)
    other = np.less_equal(values, np.float32(high), out=other)
    return np.logical_and(inside, other, out=inside)


def readings(depth: np.ndarray, valid_range: tuple[float, float], out: np.ndarray | None = None) -> np.ndarray:
    """Returns ``depth`` with NaN (REP 117) outside the valid range.

    Args:
        depth: ``(..., H, W)`` float32, metres.
        valid_range: nearest and farthest reading, metres, inclusive.
        out: array of the depth's shape, float32 and C-contiguous, to write to; by default a new one.
    """
    out = np.empty(depth.shape, np.float32) if out is None else out
    valid = within(depth, *valid_range)
    if valid.all():
        np.copyto(out, depth)
        return out
    out.fill(np.nan)
    # OpenCV's masked copy takes half the time of numpy's; it knows images only, so further axes become rows.
    rows = (-1, depth.shape[-1])
    cv2.copyTo(depth.reshape(rows), valid.reshape(rows).view(np.uint8), out.reshape(rows))
    return out


def millimetres(depth: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Returns ``depth`` as millimetres, 0 for none or beyond 65.535 m (REP 118).

    Args:
        depth: float32, metres, NaN = none.
        out: array of the depth's shape, uint16, to write to; by default a new one.
    """
    scaled = np.multiply(depth, np.float32(1000))
    np.rint(scaled, out=scaled)
    stored = np.where(within(scaled, 1, _MOST_MILLIMETRES), scaled, np.float32(0))
    out = np.empty(depth.shape, np.uint16) if out is None else out
    np.copyto(out, stored, casting="unsafe")
    return out
