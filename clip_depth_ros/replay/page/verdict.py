"""What a report says in plain sentences: whether the depth is good enough, and how fast it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clip_depth_ros.replay.page.text import (
    AS_RECORDED,
    at,
    count,
    entries,
    figure,
    number,
    percent,
    plural,
    run_key,
    short,
    span,
)

_SECONDS_FOR_DRIFT = 30.0  # of a recording; a drift a minute of a shorter one is not worth a sentence
_CLEAR = 0.05  # relative difference of AbsRel from which one is called better


@dataclass(frozen=True)
class Verdict:
    """The summary in words.

    Attributes:
        level: ``good``, ``mixed``, ``bad`` or ``unknown``.
        headline: a few words.
        sentences: what it rests on.
    """

    level: str
    headline: str
    sentences: list[str]


def verdict(report: Mapping[str, Any]) -> Verdict:
    """Judges the first run of a report; the others are mentioned."""
    runs = entries(at(report, "runs"))
    main = runs[0] if runs else None
    level, headline, sentences = _accuracy(report, main)
    sentences += [*_scale(main), *_other_heads(runs), *_conditions(runs)]
    sentences += [*_offline_speed(main), *_live(at(report, "live"))]
    return Verdict(level, headline, sentences)


def notices(report: Mapping[str, Any]) -> list[str]:
    """Returns what must be known before any number is read: an incomplete run, and the bag's warnings."""
    found = []
    if at(report, "complete") is False:
        reason = str(at(report, "stopped") or "It was stopped before the end of the recording.")
        found.append(f"This run is not complete. {reason} All figures are of what was done until then.")
    return found + [str(one) for one in entries(at(report, "bag", "warnings")) if one is not None]


def data_caption(report: Mapping[str, Any], accuracy: Any) -> str:
    """Returns what every depth table has to name: data, split, crop and range."""
    images = figure(at(accuracy, "images"))
    return (
        f"Data: {at(report, 'bag', 'name') or 'the recording'}, "
        f"{plural(images, 'matched image')}, no split (the whole recording); "
        f"crop: {at(accuracy, 'crop') or 'none'}; range of the truth: {_range(accuracy)}."
    )


def constant_name(accuracy: Any) -> str:
    """Returns what the baseline is."""
    return f"a constant {number(at(accuracy, 'constant', 'depth_m'), 2)} m"


def _range(accuracy: Any) -> str:
    limits = entries(at(accuracy, "range_m"))
    return span(limits[0], limits[1], "m") if len(limits) == 2 else "not given"


def _accuracy(report: Mapping[str, Any], run: Any) -> tuple[str, str, list[str]]:
    accuracy = at(run, "accuracy")
    metric, flat = figure(at(accuracy, "metric", "abs_rel")), figure(at(accuracy, "constant", "metric", "abs_rel"))
    if run is None or not entries(at(run, "frames", "t_s")):
        return "unknown", "Nothing was measured", ["No image of the recording was processed."]
    if metric is None or flat is None:
        if at(report, "bag", "truth_topic"):
            why = "No image had ground truth that could be compared"
        else:
            why = "The recording holds no ground truth"
        rest = "how accurate the depth is stays unknown; judge it by the frames below."
        return "unknown", "No ground truth, no accuracy", [f"{why}: {rest}"]
    scaled = figure(at(accuracy, "median_scaled", "abs_rel"))
    flat_scaled = figure(at(accuracy, "constant", "median_scaled", "abs_rel"))
    level, headline = _headline(metric, flat, scaled, flat_scaled)
    sentences = [
        f"In metres, {run_key(run)} is off by {percent(metric, 1)} of the depth on average (AbsRel {number(metric)}; "
        f"{plural(at(accuracy, 'images'), 'image')}, {_range(accuracy)}, no crop). "
        f"One depth everywhere, {number(at(accuracy, 'constant', 'depth_m'), 2)} m, the median of this very "
        f"ground truth, would be off by {percent(flat, 1)}: {run_key(run)} makes {_against(metric, flat)}.",
    ]
    if scaled is not None and flat_scaled is not None:
        sentences.append(
            f"With every image scaled to the median of its truth, AbsRel is {number(scaled)}, a constant's "
            f"{number(flat_scaled)}: {_against(scaled, flat_scaled)}."
        )
    inside = figure(at(accuracy, "metric", "a1"))
    if inside is not None:
        sentences.append(f"{percent(inside)} of the pixels are within a factor of 1.25 of the truth (δ1).")
    coverage = figure(at(accuracy, "coverage"))
    if coverage is not None and coverage < 0.995:
        sentences.append(
            f"Only {percent(coverage, 1)} of the pixels with truth have a prediction; the others count in no metric."
        )
    return level, headline, sentences


def _headline(metric: float, flat: float, scaled: float | None, flat_scaled: float | None) -> tuple[str, str]:
    in_metres = _better(metric, flat)
    in_shape = None if scaled is None or flat_scaled is None else _better(scaled, flat_scaled)
    if in_metres and in_shape is not False:
        return "good", "Better than a constant depth"
    if in_metres:
        return "mixed", "Better than a constant in metres, not in shape"
    if in_shape:
        return "mixed", "The shape beats a constant depth, the metres do not"
    return "bad", "No better than a constant depth"


def _better(value: float, baseline: float) -> bool:
    return value < (1 - _CLEAR) * baseline


def _against(value: float, baseline: float) -> str:
    if baseline <= 0:
        return "more error, as the constant makes none here"
    change = value / baseline - 1
    if abs(change) <= _CLEAR:
        return "about the same error"
    return f"{percent(abs(change))} {'less' if change < 0 else 'more'} error"


def _scale(run: Any) -> list[str]:
    accuracy = at(run, "accuracy")
    median = figure(at(accuracy, "scale", "median"))
    if median is None:
        return []
    side = "too near" if median < 1 else "too far"
    text = f"Its scale is {percent(abs(median - 1))} {side} in the median image"
    if abs(median - 1) < 0.01:
        text = "Its scale is right in the median image"
    low, high = figure(at(accuracy, "scale", "p10")), figure(at(accuracy, "scale", "p90"))
    if low is not None and high is not None:
        text += f" (predicted / true {short(median)}; 8 of 10 images: {short(low)} to {short(high)})"
    drift = figure(at(accuracy, "scale", "drift_per_minute"))
    if drift is not None and drift_is_known(run):
        text += f", drifting by {100 * drift:+.1f} % a minute"
    return [text + "."]


def drift_is_known(run: Any) -> bool:
    """Returns whether a run is long enough for a drift a minute to mean anything."""
    times = [value for one in entries(at(run, "frames", "t_s")) if (value := figure(one)) is not None]
    return bool(times) and max(times) - min(times) >= _SECONDS_FOR_DRIFT


def _other_heads(runs: list[Any]) -> list[str]:
    values = {
        run_key(run): value
        for run in runs
        if (at(run, "condition") or AS_RECORDED) == AS_RECORDED
        and (value := figure(at(run, "accuracy", "metric", "abs_rel"))) is not None
    }
    if len(values) < 2:
        return []
    best = min(values, key=values.__getitem__)
    rest = ", ".join(f"{name} {number(value)}" for name, value in values.items() if name != best)
    return [
        f"Of the {len(values)} heads on the recording as it is, {best} has the lowest AbsRel: "
        f"{number(values[best])} ({rest})."
    ]


def _conditions(runs: list[Any]) -> list[str]:
    head = at(runs[0], "head") if runs else None
    values = {
        str(at(run, "condition") or AS_RECORDED): value
        for run in runs
        if at(run, "head") == head and (value := figure(at(run, "accuracy", "metric", "abs_rel"))) is not None
    }
    before = values.pop(AS_RECORDED, None)
    if before is None or not before or not values:
        return []
    worst = max(values, key=values.__getitem__)
    change = values[worst] / before - 1
    return [
        f"Under adverse conditions {head} is worst with {worst}: AbsRel {number(values[worst])}, "
        f"{100 * change:+.0f} % against the recording as it is."
    ]


def _offline_speed(run: Any) -> list[str]:
    rate = figure(at(run, "speed", "frames_per_s"))
    if rate is None:
        return []
    batch = figure(at(run, "speed", "batch"))
    text = f"It ran offline at {short(rate)} images/s"
    return [text + (f" in batches of {count(batch)}." if batch is not None and batch > 1 else ".")]


def best_live_run(live: Any) -> Any:
    """Returns the run at the highest rate with no drop, or else the first one; None where there is none."""
    runs = entries(at(live, "runs"))
    highest = figure(at(live, "highest_rate_hz"))
    if not runs or highest is None:
        return runs[0] if runs else None
    without = [run for run in runs if figure(at(run, "rate")) != 0 and figure(at(run, "offered_hz")) is not None]
    return min(without or runs, key=lambda run: abs((figure(at(run, "offered_hz")) or 0.0) - highest))


def _live(live: Any) -> list[str]:
    run = best_live_run(live)
    if run is None:
        return []
    highest = figure(at(live, "highest_rate_hz"))
    latency = f"latency p50 {short(at(run, 'latency_ms', 'p50'))} ms, p99 {short(at(run, 'latency_ms', 'p99'))} ms"
    start = figure(at(live, "start_up_s"))
    ready = "" if start is None else f" The node answered {number(start, 1)} s after its start."
    if highest is None:
        rates = f"of {short(at(run, 'offered_hz'))} Hz offered {short(at(run, 'received_hz'))} Hz came back"
        return [f"Live, no tested rate was without drops: {rates}, {latency}.{ready}"]
    return [f"Live, {short(highest)} Hz is the highest tested rate without a drop: {latency}.{ready}"]
