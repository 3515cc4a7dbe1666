"""Which measurement of depth belongs to which picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clip_depth_ros.errors import BadInput


@dataclass(frozen=True)
class Pairs:
    """Pictures with their partners.

    Attributes:
        pictures: ``(N,)`` number of each picture that has a partner, rising.
        partners: ``(N,)`` number of its partner.
        lonely: pictures that have no measurement within the tolerance.
        shared: pictures whose measurement belongs to a nearer picture.
    """

    pictures: np.ndarray
    partners: np.ndarray
    lonely: int
    shared: int


def pair(pictures_ns: np.ndarray, partners_ns: np.ndarray, tolerance_s: float) -> Pairs:
    """Pairs stamps: each picture with the nearest measurement, each measurement once, the nearest picture first.

    Args:
        pictures_ns: ``(P,)`` int64, rising, at least one.
        partners_ns: ``(M,)`` int64, rising, at least one.
        tolerance_s: largest time between the two, seconds.

    Raises:
        BadInput: no picture has a measurement in time; the sentence says how far the nearest is.
    """
    later = np.searchsorted(partners_ns, pictures_ns).clip(1, max(len(partners_ns) - 1, 1))
    around = np.stack([later - 1, later.clip(max=len(partners_ns) - 1)])
    apart = np.abs(partners_ns[around] - pictures_ns)
    nearest = np.where(apart[0] <= apart[1], around[0], around[1])
    apart = apart.min(axis=0)
    in_time = np.flatnonzero(apart <= round(tolerance_s * 1e9))
    if not len(in_time):
        raise BadInput(
            f"No picture has a depth within {tolerance_s:g} s: the nearest two header stamps are "
            f"{apart.min() / 1e9:.3f} s apart, so raise --tolerance, or synchronise the clocks of the two sensors."
        )
    by_distance = in_time[np.argsort(apart[in_time], kind="stable")]
    _, first = np.unique(nearest[by_distance], return_index=True)
    chosen = np.sort(by_distance[first])
    return Pairs(chosen, nearest[chosen], len(pictures_ns) - len(in_time), len(in_time) - len(chosen))


def far_enough(time_ns: int, last_ns: int, every_s: float) -> bool:
    """Returns whether a time is at least ``every_s`` seconds after the one taken before; 0 takes every time.

    So is one before it: the clock was set back.
    """
    # Stamps jitter: a camera of 10 Hz thinned to 0.5 s must not fall to 0.6 s for a millisecond.
    return not 0 <= time_ns - last_ns < round(every_s * 0.99e9)


def spaced(times_ns: np.ndarray, every_s: float) -> np.ndarray:
    """Returns the numbers of times (rising) that are at least ``every_s`` seconds after the one taken before."""
    taken: list[int] = []
    for number, time in enumerate(times_ns):
        if not taken or far_enough(time, times_ns[taken[-1]], every_s):
            taken.append(number)
    return np.array(taken, np.intp)


def held_out(times_ns: np.ndarray, part: float, gap_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Splits times (rising) into the first ``1 - part`` of the duration and the last ``part``.

    Returns:
        ``(N,)`` bool each: before, with what is less than ``gap_s`` seconds before the split left out, and after.
    """
    start, end = int(times_ns[0]), int(times_ns[-1])
    split = end - round((end - start) * part)
    return times_ns <= split - round(gap_s * 1e9), times_ns >= split
