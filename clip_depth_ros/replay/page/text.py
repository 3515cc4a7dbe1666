"""Numbers and names as people read them; what does not exist is a dash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

DASH = "\u2013"
TIMES = "\u00d7"
AS_RECORDED = "as recorded"


@dataclass(frozen=True)
class Metric:
    """One of the nine depth metrics: its key in reports, its usual name, and which way is better."""

    key: str
    label: str
    lower_is_better: bool
    meaning: str


METRICS = (
    Metric("abs_rel", "AbsRel", True, "mean of |predicted - true| / true"),
    Metric("sq_rel", "SqRel (m)", True, "mean of (predicted - true)² / true"),
    Metric("rmse", "RMSE (m)", True, "root of the mean squared error"),
    Metric("rmse_log", "RMSE log", True, "root of the mean squared error of log depth"),
    Metric("log_10", "log10", True, "mean of |log10 predicted - log10 true|"),
    Metric("silog", "SILog", True, "spread of the error of log depth, times 100: blind to scale"),
    Metric("a1", "δ1", False, "part of the pixels within a factor of 1.25 of the truth"),
    Metric("a2", "δ2", False, "part within a factor of 1.25²"),
    Metric("a3", "δ3", False, "part within a factor of 1.25³"),
)


def at(value: Any, *keys: str) -> Any:
    """Returns the item of nested mappings, or None where one of the keys is missing or null."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def entries(value: Any) -> list[Any]:
    """Returns a list as it is, and an empty one for everything else."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


def figure(value: Any) -> float | None:
    """Returns a number that can be drawn, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if isfinite(value) else None


def number(value: Any, digits: int = 3) -> str:
    """Returns a number with fixed digits after the point."""
    found = figure(value)
    return DASH if found is None else f"{found:,.{digits}f}"


def short(value: Any, digits: int = 3) -> str:
    """Returns a number with so many significant digits, without an exponent where it is of everyday size."""
    found = figure(value)
    if found is None:
        return DASH
    if found and not 1e-4 <= abs(found) < 1e6:
        return f"{found:.{digits}g}"
    return f"{float(f'{found:.{digits}g}'):,.10g}"


def count(value: Any) -> str:
    """Returns a whole number, thousands separated."""
    found = figure(value)
    return DASH if found is None else f"{found:,.0f}"


def percent(value: Any, digits: int = 0) -> str:
    """Returns a part of one as percent."""
    found = figure(value)
    if found is None:
        return DASH
    least = 10.0 ** -(2 + digits)
    return f"< {100 * least:.{digits}f} %" if 0 < found < least / 2 else f"{100 * found:.{digits}f} %"


def with_unit(text: str, unit: str) -> str:
    """Returns the text with its unit, which a dash does not get."""
    return text if text == DASH else f"{text} {unit}"


def plural(value: Any, singular: str, several: str = "") -> str:
    """Returns ``1 image``, ``2 images``."""
    return f"{count(value)} {singular if figure(value) == 1 else several or singular + 's'}"


def span(low: Any, high: Any, unit: str) -> str:
    """Returns ``0.1 to 10 m``; without an upper end ``8 m and more``."""
    if figure(high) is None:
        return DASH if figure(low) is None else f"{short(low)} {unit} and more"
    return f"{short(low)} to {short(high)} {unit}"


def run_key(run: Any) -> str:
    """Returns what a run is called: its head, and the condition where it is not the recording as it is."""
    head, condition = at(run, "head") or "?", at(run, "condition") or AS_RECORDED
    return str(head) if condition == AS_RECORDED else f"{head}, {condition}"


def rate_name(run: Any) -> str:
    """Returns what a live run is called: its pace and what that offered."""
    rate, offered = figure(at(run, "rate")), with_unit(short(at(run, "offered_hz")), "Hz")
    if rate == 0:
        return "as fast as taken"
    return offered if rate is None else f"{offered} ({short(rate)}{TIMES})"
