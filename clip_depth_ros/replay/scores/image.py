"""One image against its ground truth: sums by distance band and region, and what else needs both.

Pixels are worked on in parts, so that what is held between steps stays small for large pictures too: every part lies
in one of the regions, and its pixels are ordered by distance band.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from clip_depth_ros.replay.scores.sums import ROWS, pixel_sums

BANDS_M = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Nearest truth of each distance band, metres, inclusive; a band ends where the next begins, the last never."""

REGIONS = (3, 3)
"""Rows and columns that an image is divided into."""

SCALINGS = ("metric", "median_scaled")

_PIXELS_AT_ONCE = 40_000

_latest: list[tuple[np.ndarray, tuple[float, float], Truth | None]] = []  # at most one


@dataclass(frozen=True)
class Part:
    """Some pixels of one region whose truth lies strictly inside the range.

    Attributes:
        region: (row, column) of the region.
        index: ``(N,)`` place of each pixel in the flattened image.
        band: ``(N,)`` uint8 number of its distance band; never falls.
        depth: ``(N,)`` float32 metres, the truth.
        exact, inverse, logarithm: ``(N,)`` float64: the same depth, 1 / depth, log(depth).
    """

    region: tuple[int, int]
    index: np.ndarray
    band: np.ndarray
    depth: np.ndarray
    exact: np.ndarray
    inverse: np.ndarray
    logarithm: np.ndarray

    def only(self, keep: np.ndarray) -> Part:
        """Returns the pixels where ``keep`` ``(N,)`` is true, in the same order."""
        arrays = (self.index, self.band, self.depth, self.exact, self.inverse, self.logarithm)
        return Part(self.region, *(array[keep] for array in arrays))


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth of one image inside the range: parts that each have a pixel, and there is one.

    Two are equal when they are one object.
    """

    parts: tuple[Part, ...]

    @cached_property
    def pixels(self) -> int:
        """Number of pixels."""
        return sum(len(part.depth) for part in self.parts)

    @cached_property
    def median(self) -> np.float32:
        """Median depth, metres."""
        return median(np.concatenate([part.depth for part in self.parts]))


@dataclass(frozen=True)
class Comparison:
    """What one image adds.

    Attributes:
        truth: the pixels compared: those of the truth that have a prediction.
        guesses: for each part of the truth, the prediction clipped to the range, by scaling; ``(N,)`` float64 metres.
        sums: ``(2, 3, 3, 5, ROWS)`` float64, by scaling, row and column of regions, and band.
        scale: median(prediction) / median(truth) of these pixels.
    """

    truth: Truth
    guesses: tuple[tuple[np.ndarray, ...], ...]
    sums: np.ndarray
    scale: float


def truth_inside(truth: np.ndarray, limits: tuple[float, float]) -> Truth | None:
    """Returns the pixels of ``truth`` ``(H, W)`` float32 metres strictly inside ``limits``; None without any.

    NaN and infinity are outside. What is found in a read-only array is kept until the next one comes, as several heads
    and conditions are measured against one truth.
    """
    if truth.flags.writeable:
        return _find_inside(truth, limits)
    if not _latest or _latest[0][0] is not truth or _latest[0][1] != limits:
        _latest[:] = [(truth, limits, _find_inside(truth, limits))]
    return _latest[0][2]


def _find_inside(truth: np.ndarray, limits: tuple[float, float]) -> Truth | None:
    parts = []
    for region, rows, columns, places in _blocks(*truth.shape):
        block = truth[rows, columns].reshape(-1)
        inside = (block > limits[0]) & (block < limits[1])
        depth = block[inside]
        if not depth.size:
            continue
        band = np.zeros(len(depth), np.uint8)
        for edge in BANDS_M[1:]:
            band += (depth >= np.float32(edge)).view(np.uint8)
        order = np.argsort(band, kind="stable")  # a radix sort, as these are bytes
        index, depth = places[inside][order], depth[order]
        exact = depth.astype(np.float64)
        parts.append(Part(region, index, band[order], depth, exact, 1 / exact, np.log(exact)))
    return Truth(tuple(parts)) if parts else None


def compare(prediction: np.ndarray, truth: Truth, limits: tuple[float, float]) -> Comparison | None:
    """Compares ``prediction`` ``(H, W)`` float32 metres with the truth; None where no pixel has both.

    Pixels without a finite prediction are left out. The median scaling is that of
    :func:`clip_depth_ros.depth.metrics.median_scaled`: over all pixels of the image that are compared, in float32.
    """
    flat = prediction.reshape(-1)
    depths = [flat[part.index] for part in truth.parts]
    finite = [np.isfinite(depth) for depth in depths]
    if not all(keep.all() for keep in finite):
        depths = [depth[keep] for depth, keep in zip(depths, finite)]
        truth = Truth(tuple(part.only(keep) for part, keep in zip(truth.parts, finite) if keep.any()))
        depths = [depth for depth in depths if depth.size]
    if not depths:
        return None
    middle = median(np.concatenate(depths))
    ratio = truth.median / max(middle, np.float32(1e-7))
    sums = np.zeros((len(SCALINGS), *REGIONS, len(BANDS_M), ROWS))
    guesses = []
    for part, depth in zip(truth.parts, depths):
        counts = np.bincount(part.band, minlength=len(BANDS_M))
        present = np.flatnonzero(counts)
        starts = (np.cumsum(counts) - counts)[present]
        pair = (_clipped(depth, limits), _clipped(depth * ratio, limits))
        for scaling, guess in enumerate(pair):
            found = pixel_sums(guess, part.exact, part.inverse, part.logarithm, starts)
            sums[scaling][part.region][present] += found
        guesses.append(pair)
    return Comparison(truth, tuple(guesses), sums, float(middle) / float(truth.median))


def median(values: np.ndarray) -> np.float32:
    """Returns the median of ``(N,)`` float32: of an even number, the mean of the two in the middle; N > 0.

    The same as ``numpy.median`` in a fifth of the time: among positive numbers, float32 and their bits as integers are
    in one order, so that the upper 16 bits sort them into bins, and only the bin in the middle is looked at closely.
    """
    low, high = (len(values) - 1) // 2, len(values) // 2
    if not values.min() > 0:
        return np.float32(np.median(values))
    upper = values.view(np.uint32) >> 16
    reached = np.cumsum(np.bincount(upper))
    first, last = np.searchsorted(reached, (low, high), side="right")
    before = reached[first - 1] if first else 0
    inside = values[upper == first if first == last else (upper >= first) & (upper <= last)]
    ordered = np.partition(inside, sorted({low - before, high - before}))
    return (ordered[low - before] + ordered[high - before]) / np.float32(2)


def _clipped(depth: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    exact = depth.astype(np.float64)
    return np.clip(exact, *limits, out=exact)


@lru_cache(maxsize=2)
def _blocks(height: int, width: int) -> list[tuple[tuple[int, int], slice, slice, np.ndarray]]:
    """Returns the blocks of pixels that an image is cut into.

    Each has the (row, column) of its region, its rows and columns, and the places of its pixels in the flat image.
    """
    places = np.arange(height * width).reshape(height, width)
    found = []
    for row, column in np.ndindex(*REGIONS):
        top, bottom = (height * edge // REGIONS[0] for edge in (row, row + 1))
        left, right = (width * edge // REGIONS[1] for edge in (column, column + 1))
        pieces = -(-(bottom - top) * (right - left) // _PIXELS_AT_ONCE)
        for piece in range(pieces):
            rows = slice(*(top + (bottom - top) * edge // pieces for edge in (piece, piece + 1)))
            columns = slice(left, right)
            found.append(((row, column), rows, columns, places[rows, columns].reshape(-1)))
    return found
