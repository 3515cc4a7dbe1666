"""The baseline that looks at no picture: one depth everywhere, the median of this recording's ground truth.

The median is known only at the end, and the pixels are not kept. What a constant c is worth follows from little:

- rmse, rmse_log and silog of an image from the mean and variance of its depth and of its depth's logarithm;
- abs_rel, sq_rel, log_10 and the three thresholds, averaged over images, from one histogram of the recording in which
  every image has weight 1, with the sums of 1 / t and log t in each bin. Bins are log(1.25) / 256 wide (0.09 %), so
  that where c is an edge between two bins, c / 1.25^k and c x 1.25^k are edges too, and all of these are exact.

So c is the edge nearest to the median (less than 0.09 % off), and the metrics of this c are exact but for rounding.
Every image counts the same in the median, as it does in the metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from clip_depth_ros.depth.metrics import NAMES
from clip_depth_ros.replay.scores.image import Part, Truth
from clip_depth_ros.replay.scores.state import State, Table, shaped
from clip_depth_ros.replay.scores.sums import named

_PER_THRESHOLD = 256
_PER_LOG = _PER_THRESHOLD / math.log(1.25)


class ConstantBaseline:
    """Gathers the ground truth of a recording; it is the same for every head, as it asks for no prediction.

    Args:
        limits: nearest and farthest truth that counts, metres.
    """

    def __init__(self, limits: tuple[float, float]) -> None:
        self._limits = limits
        self._first = math.floor(math.log(limits[0]) * _PER_LOG)
        size = math.floor(math.log(limits[1]) * _PER_LOG) - self._first + 1
        self._bins = np.zeros((3, size))  # weight, weight / t, weight x log t
        self._scaled = np.zeros(len(NAMES))
        self._images = Table("mean", "variance", "log_mean", "log_variance")

    def add(self, truth: Truth) -> None:
        """Adds one image."""
        bins, row, scaled = _of_one_image(truth, self._first, self._bins.shape[1])
        self._bins += bins
        self._images.add(*row)
        self._scaled += scaled

    def result(self) -> dict[str, Any] | None:
        """Returns ``depth_m``, ``metric`` and ``median_scaled`` (nine metrics each); None before the first image."""
        if not len(self._images):
            return None
        edge = self._median_edge()
        depth = min(max(math.exp((self._first + edge) / _PER_LOG), self._limits[0]), self._limits[1])
        return {
            "depth_m": depth,
            "metric": self._metrics(depth, edge),
            "median_scaled": named(self._scaled / len(self._images)),
        }

    def _median_edge(self) -> int:
        """Returns the number of the first bin above the constant."""
        weight, _, logarithm = self._bins
        reached = np.cumsum(weight)
        middle = int(np.searchsorted(reached, reached[-1] / 2))
        within = logarithm[middle] / weight[middle] * _PER_LOG - self._first - middle
        return middle + int(within >= 0.5)

    def _metrics(self, depth: float, edge: int) -> dict[str, float]:
        images = len(self._images)
        (below, above), (near, far), (low, high) = ((row[:edge].sum(), row[edge:].sum()) for row in self._bins)
        log_depth = math.log(depth)
        mean, log_mean = self._images.column("mean"), self._images.column("log_mean")
        variance, log_variance = self._images.column("variance"), self._images.column("log_variance")

        def part(power: int) -> float:
            reach = power * _PER_THRESHOLD
            return float(self._bins[0, max(edge - reach, 0) : edge + reach].sum() / images)

        return {
            "abs_rel": float(depth * (near - far) + above - below) / images,
            "sq_rel": max(float(depth * depth * (near + far) / images - 2 * depth + mean.mean()), 0.0),
            "rmse": float(np.sqrt((depth - mean) ** 2 + variance).mean()),
            "rmse_log": float(np.sqrt((log_depth - log_mean) ** 2 + log_variance).mean()),
            "log_10": float(log_depth * (below - above) + high - low) / images / math.log(10),
            "silog": float(100 * np.sqrt(log_variance).mean()),
            **{f"a{power}": part(power) for power in (1, 2, 3)},
        }

    def state(self) -> State:
        """Returns everything gathered."""
        return {"bins": self._bins.copy(), "scaled": self._scaled.copy(), "images": self._images.array()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on from :meth:`state`."""
        self._bins = shaped(state, "bins", self._bins)
        self._scaled = shaped(state, "scaled", self._scaled)
        self._images.restore(state["images"])


@lru_cache(maxsize=1)  # the same for every head that is measured against this truth
def _of_one_image(truth: Truth, first: int, size: int) -> tuple[np.ndarray, tuple[float, ...], np.ndarray]:
    """Returns what one image adds: to the bins ``(3, size)``, a row of the table, and nine metrics ``(9,)``."""
    bins = np.zeros((3, size))
    for part in truth.parts:
        place = (part.logarithm * _PER_LOG - first).astype(np.intp)
        np.clip(place, 0, size - 1, out=place)  # rounding, at the very ends of the range
        for row, weights in enumerate((None, part.inverse, part.logarithm)):
            bins[row] += np.bincount(place, weights, minlength=size)
    bins /= truth.pixels
    mean = sum(part.exact.sum() for part in truth.parts) / truth.pixels
    log_mean = sum(part.logarithm.sum() for part in truth.parts) / truth.pixels
    # Median scaling makes any constant the image's own median.
    constant = float(truth.median)
    sums = np.sum([_moments(part, mean, log_mean, constant) for part in truth.parts], axis=0) / truth.pixels
    variance, log_variance, abs_rel, sq_rel, log_abs, *inside = sums
    bias, log_bias = constant - mean, math.log(constant) - log_mean
    rmse, rmse_log = math.sqrt(bias**2 + variance), math.sqrt(log_bias**2 + log_variance)
    log_10, silog = log_abs / math.log(10), 100 * math.sqrt(log_variance)
    scaled = np.array([abs_rel, sq_rel, rmse, rmse_log, log_10, silog, *inside])
    return bins, (mean, variance, log_mean, log_variance), scaled


def _moments(part: Part, mean: float, log_mean: float, constant: float) -> np.ndarray:
    """Returns sums over the pixels of a part, ``(8,)`` float64.

    They are those of the squared distances of t from its mean and of log t from its mean; then, with d the difference
    between the constant and t, |d| / t, d^2 / t, |log constant - log t|, and the numbers below the three thresholds.
    """
    work = part.exact - mean
    variance = np.square(work, out=work).sum()
    log_variance = np.square(np.subtract(part.logarithm, log_mean, out=work), out=work).sum()
    difference = np.subtract(constant, part.exact, out=work)
    relative = difference * part.inverse
    sq_rel = np.multiply(difference, relative, out=work).sum()
    abs_rel = np.abs(relative, out=relative).sum()
    log_abs = np.abs(np.subtract(math.log(constant), part.logarithm, out=work), out=work).sum()
    limits = [1.25**power for power in (1, 2, 3)]
    inside = [np.count_nonzero((part.exact > constant / limit) & (part.exact < constant * limit)) for limit in limits]
    return np.array([variance, log_variance, abs_rel, sq_rel, log_abs, *inside])
