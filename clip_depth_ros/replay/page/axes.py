"""Where a chart's axes begin and end, their round numbers, and which points of a long curve are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, isfinite, log10

_MOST_POINTS = 600  # of a curve; longer ones keep the lowest and highest of every stretch

Values = Sequence[float | None]


def top_of(values: Sequence[float | None]) -> float:
    """Returns where an axis ends that begins at 0."""
    return axis_limits(values, True)[1]


def axis_limits(values: Sequence[float | None], from_zero: bool) -> tuple[float, float]:
    """Returns where an axis begins and ends, with some room above the highest value."""
    finite = [value for value in values if value is not None and isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if from_zero and low >= 0:
        return 0.0, high * 1.12 or 1.0
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def round_ticks(low: float, high: float, about: int) -> list[float]:
    """Returns round values within the limits, steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** floor(log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    return [index * step for index in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def thinned_points(seconds: Values, values: Values) -> tuple[list[float], Values]:
    """Returns at most ``_MOST_POINTS`` points that keep every stretch's lowest and highest value."""
    times = [time for time in seconds if time is not None]
    if len(times) <= _MOST_POINTS:
        return times, list(values)
    kept: list[int] = []
    stretches = _MOST_POINTS // 2
    for stretch in range(stretches):
        indices = range(stretch * len(times) // stretches, (stretch + 1) * len(times) // stretches)
        known = [(value, index) for index in indices if (value := values[index]) is not None]
        kept.extend(sorted({min(known)[1], max(known)[1]}) if known else [indices[0]])
    return [times[index] for index in kept], [values[index] for index in kept]
