"""The nine metrics as sums over pixels, so that images, distance bands and regions can be pooled exactly.

:mod:`clip_depth_ros.depth.metrics` gives the same nine of whole images, and those of one image here agree with it; but
what a distance band has over a recording is known only from sums taken before any mean or square root.
"""

from __future__ import annotations

import math

import numpy as np

from clip_depth_ros.depth.metrics import NAMES

ROWS = 10
"""Sums kept: pixels, |d| / t, d^2 / t, d^2, l, l^2, |l|, and how many ratios are below 1.25, 1.25^2 and 1.25^3.

d is prediction - truth, t the truth (metres), l the difference of their natural logarithms.
"""

PIXELS, ABS_REL, _SQ_REL, _SQUARE, _LOG, _LOG_SQUARE, _LOG_ABS, _A1 = range(8)


def pixel_sums(
    guess: np.ndarray, truth: np.ndarray, inverse: np.ndarray, log_truth: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    """Returns the sums of consecutive groups of pixels, ``(groups, ROWS)`` float64.

    Args:
        guess: ``(N,)`` float64 metres above 0, the prediction clipped to the range.
        truth: ``(N,)`` float64 metres above 0.
        inverse: ``(N,)`` float64, 1 / truth.
        log_truth: ``(N,)`` float64, log(truth).
        starts: ``(groups,)`` where each group begins; strictly growing from 0, as no group is empty.
    """
    sums = np.empty((ROWS, len(starts)))
    sums[PIXELS] = np.diff(starts, append=len(guess))
    difference = guess - truth
    work = np.abs(difference)
    work *= inverse
    np.add.reduceat(work, starts, out=sums[ABS_REL])
    np.multiply(difference, difference, out=work)
    np.add.reduceat(work, starts, out=sums[_SQUARE])
    work *= inverse
    np.add.reduceat(work, starts, out=sums[_SQ_REL])
    logarithm = np.log(guess, out=difference)
    logarithm -= log_truth
    np.add.reduceat(logarithm, starts, out=sums[_LOG])
    np.multiply(logarithm, logarithm, out=work)
    np.add.reduceat(work, starts, out=sums[_LOG_SQUARE])
    np.abs(logarithm, out=work)
    np.add.reduceat(work, starts, out=sums[_LOG_ABS])
    larger, smaller = np.maximum(guess, truth, out=work), np.minimum(guess, truth, out=logarithm)
    for power in range(3):
        smaller *= 1.25  # exact for depth that was float32: no pixel on the limit is taken to be inside it
        below = np.split(larger < smaller, starts[1:])
        sums[_A1 + power] = [np.count_nonzero(group) for group in below]
    return sums.T


def metrics(sums: np.ndarray) -> dict[str, float] | None:
    """Returns the nine metrics by name from one row of sums ``(ROWS,)``; None where it has no pixel."""
    if not sums[PIXELS]:
        return None
    mean = sums / sums[PIXELS]
    return {
        "abs_rel": float(mean[ABS_REL]),
        "sq_rel": float(mean[_SQ_REL]),
        "rmse": math.sqrt(mean[_SQUARE]),
        "rmse_log": math.sqrt(mean[_LOG_SQUARE]),
        "log_10": float(mean[_LOG_ABS]) / math.log(10),
        "silog": 100 * math.sqrt(max(mean[_LOG_SQUARE] - mean[_LOG] ** 2, 0.0)),
        **{f"a{power}": float(mean[_A1 + power - 1]) for power in (1, 2, 3)},
    }


def values(found: dict[str, float]) -> np.ndarray:
    """Returns nine metrics as ``(9,)`` float64 in the order of ``NAMES``."""
    return np.array([found[name] for name in NAMES])


def named(row: np.ndarray) -> dict[str, float]:
    """Returns ``(9,)`` values in the order of ``NAMES`` by name, plain floats."""
    return dict(zip(NAMES, (float(value) for value in row)))
