"""Looks for the highest rate that something holds."""

from __future__ import annotations

import math
from collections.abc import Callable


def find_highest_rate(
    holds: Callable[[float], bool],
    start_hz: float,
    *,
    held_hz: float | None = None,
    lowest_hz: float = 0.1,
    most_hz: float = 1000.0,
    tolerance: float = 0.05,
    most_trials: int = 12,
    keep_going: Callable[[], bool] = lambda: True,
) -> float | None:
    """Returns the highest rate tried that held: doubles up to the first that does not, then bisects.

    Args:
        holds: tries a rate (Hz); it is taken to hold below a rate that held.
        start_hz: first rate; while none has held, half of the one before is next.
        held_hz: a lower rate that is known to hold; None: none is.
        lowest_hz, most_hz: no rate beyond them is tried.
        tolerance: ends when the lowest rate that did not hold is at most this share above the highest that did.
        most_trials: calls of ``holds`` at most.
        keep_going: asked before each call but the first; False ends the search with what it has.

    Returns:
        The rate in Hz, ``held_hz`` when no higher one held; None when none did.
    """
    good = held_hz
    bad: float | None = None
    rate = min(max(start_hz, lowest_hz), most_hz)
    for number in range(most_trials):
        if number and not keep_going():
            break
        if holds(rate):
            good = rate
        else:
            bad = rate
        if good is None:
            if rate <= lowest_hz:
                break
            rate = max(rate / 2, lowest_hz)
        elif bad is None:
            if good >= most_hz:
                break
            rate = min(2 * good, most_hz)
        elif bad <= good * (1 + tolerance):
            break
        else:
            rate = math.sqrt(good * bad)  # the tolerance is a share, so halves are too
    return good
