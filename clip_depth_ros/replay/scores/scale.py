"""The scale of depth over time: median(prediction) / median(truth) of each frame, its spread and its drift."""

from __future__ import annotations

import math

import numpy as np

SHORTEST_S = 2.0
"""A drift a minute is not told from less than this: it would be stretched more than thirty times."""

_GROUPS = 500


def scale_summary(t_s: np.ndarray, scale: np.ndarray) -> dict[str, float | None]:
    """Returns ``median``, ``p10``, ``p90`` and ``drift_per_minute`` (relative change a minute), None where unknown.

    Args:
        t_s: ``(frames,)`` times in seconds.
        scale: ``(frames,)``, NaN where a frame has none.
    """
    known = np.isfinite(scale)
    if not known.any():
        return dict.fromkeys(("median", "p10", "p90", "drift_per_minute"))
    median, low, high = (float(value) for value in np.percentile(scale[known], (50, 10, 90)))
    return {"median": median, "p10": low, "p90": high, "drift_per_minute": drift_per_minute(t_s, scale)}


def drift_per_minute(t_s: np.ndarray, scale: np.ndarray) -> float | None:
    """Returns by how much of itself the scale grows in a minute; None with fewer than 3 frames or 2 seconds.

    The slope of log(scale) over time is Theil's and Sen's: the median slope between any two frames, which up to 29 %
    of outliers do not move. Recordings of more than 500 frames are first put into 500 groups of neighbours, each the
    medians of its times and scales, as the number of pairs grows with the square.
    """
    used = (scale > 0) & np.isfinite(scale)
    times, logs = t_s[used], np.log(scale[used])
    if len(times) < 3 or np.ptp(times) < SHORTEST_S:
        return None
    if len(times) > _GROUPS:
        order = np.argsort(times, kind="stable")
        times, logs = (
            np.array([np.median(group) for group in np.array_split(values[order], _GROUPS)]) for values in (times, logs)
        )
    first, second = np.triu_indices(len(times), 1)
    steps = times[second] - times[first]
    apart = steps != 0
    slope = float(np.median((logs[second] - logs[first])[apart] / steps[apart]))
    return math.expm1(min(60 * slope, 700.0))
