"""How far a predicted point is from the true point of the same pixel: both lie on the pixel's ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from clip_depth_ros.replay.scores.image import SCALINGS, Comparison
from clip_depth_ros.replay.scores.state import State, shaped

WITHIN_M = {"within_5cm": 0.05, "within_10cm": 0.10}
"""Distances (metres) that a point counts as good within, inclusive."""

_DROPPED_BITS = 14
_SMALLEST = np.float32(2.0**-20)  # a micrometre: all that is nearer is one bin
_LARGEST = np.float32(2.0**14)
_FIRST, _LAST = (int(value.view(np.int32)) >> _DROPPED_BITS for value in (_SMALLEST, _LARGEST))


class CloudErrors:
    """Counts distances between points in fine bins.

    A float32 without its last 14 bits is the bin: 512 to each doubling of the distance, so the median is at most 0.1 %
    off (the middle of a bin that is 0.2 % wide). The parts within 5 and 10 cm are exact but for
    the rounding of a distance to float32.
    """

    def __init__(self) -> None:
        self._points = np.zeros((), np.int64)
        self._within = np.zeros((len(SCALINGS), len(WITHIN_M)), np.int64)
        self._bins = np.zeros((len(SCALINGS), _LAST - _FIRST + 1), np.int64)

    def add(self, comparison: Comparison, lengths: np.ndarray) -> None:
        """Adds an image.

        Args:
            comparison: the image's.
            lengths: ``(H x W,)`` float64 length of each pixel's ray to z = 1; pixels where it is NaN have no point.
        """
        for part, guesses in zip(comparison.truth.parts, comparison.guesses):
            length = lengths[part.index]
            seen = np.isfinite(length)
            everywhere = bool(seen.all())
            self._points += np.count_nonzero(seen)
            for scaling, guess in enumerate(guesses):
                distance = np.abs(guess - part.exact)
                distance *= length
                self._count(scaling, distance if everywhere else distance[seen])

    def _count(self, scaling: int, distance: np.ndarray) -> None:
        rounded = distance.astype(np.float32)
        for number, limit in enumerate(WITHIN_M.values()):
            self._within[scaling, number] += np.count_nonzero(rounded <= np.float32(limit))
        bins = np.clip(rounded, _SMALLEST, _LARGEST, out=rounded).view(np.int32)
        bins >>= _DROPPED_BITS
        bins -= _FIRST
        self._bins[scaling] += np.bincount(bins, minlength=self._bins.shape[1])

    def result(self) -> dict[str, Any] | None:
        """Returns ``points`` and, by scaling, parts within each distance and their median (m); None: no points."""
        points = int(self._points)
        if not points:
            return None
        found: dict[str, Any] = {"points": points}
        for name, within, bins in zip(SCALINGS, self._within, self._bins):
            parts = {key: int(count) / points for key, count in zip(WITHIN_M, within)}
            found[name] = {**parts, "median_error_m": _median(bins)}
        return found

    def state(self) -> State:
        """Returns everything counted."""
        return {"points": self._points.copy(), "within": self._within.copy(), "bins": self._bins.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on from :meth:`state`."""
        self._points = shaped(state, "points", self._points)
        self._within = shaped(state, "within", self._within)
        self._bins = shaped(state, "bins", self._bins)


def ray_lengths(rays: np.ndarray) -> np.ndarray:
    """Returns the length ``(H x W,)`` float64 of rays ``(H, W, 3)`` with z = 1, NaN where there is none."""
    exact = rays.reshape(-1, 3).astype(np.float64)
    return np.sqrt(np.einsum("pi,pi->p", exact, exact))


def _median(bins: np.ndarray) -> float:
    middle = int(np.searchsorted(np.cumsum(bins), bins.sum() / 2))
    if middle == 0:
        return 0.0
    edges = (np.array([middle, middle + 1], np.int32) + _FIRST << _DROPPED_BITS).view(np.float32)
    return float(edges.astype(np.float64).mean())
