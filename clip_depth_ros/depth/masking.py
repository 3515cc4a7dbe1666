"""From a head's raw depth to readings: what is outside the valid range is no reading, never zero or a wall."""

from __future__ import annotations

import numpy as np


def readings(depth: np.ndarray, valid_range: tuple[float, float]) -> np.ndarray:
    """Returns ``depth`` ``(..., H, W)`` float32 metres with NaN (REP 117) outside ``valid_range`` (metres, "
    "inclusive)."""
    nearest, farthest = valid_range
    return np.where((depth >= nearest) & (depth <= farthest), depth, np.float32(np.nan))


def millimetres(depth: np.ndarray) -> np.ndarray:
    """Returns ``depth`` (float32 metres, NaN = none) as uint16 millimetres, 0 for none or beyond 65.535 m (REP 118)."""
    scaled = np.rint(depth * 1000.0)
    return np.where((scaled >= 1) & (scaled <= 65535), scaled, 0).astype(np.uint16)
