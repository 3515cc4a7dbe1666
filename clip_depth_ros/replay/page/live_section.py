"""How fast the running node answers: rates, drops, latency, load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_depth_ros.replay.page.charts import Reference, Series, curves, histogram, rows
from clip_depth_ros.replay.page.markup import Markup, join, tag
from clip_depth_ros.replay.page.tables import grouped, simple
from clip_depth_ros.replay.page.text import (
    DASH,
    at,
    count,
    entries,
    figure,
    number,
    rate_name,
    run_key,
    short,
    with_unit,
)
from clip_depth_ros.replay.page.verdict import best_live_run

_PERCENTILES = ("p50", "p95", "p99")


def speed_section(report: Mapping[str, Any]) -> Markup:
    """Returns the offline speed of every run and, where the node ran live, what was measured of it."""
    offline = _offline(report)
    live = at(report, "live")
    if not isinstance(live, Mapping):
        missing = "The node was not run live: latency, drops and load were not measured (clip-depth replay --live)."
        return join((offline, tag("p", missing, class_="empty")))
    runs = entries(at(live, "runs"))
    return join((offline, _rates(live, runs), _latencies(live, runs)))


def _offline(report: Mapping[str, Any]) -> Markup | None:
    runs = [run for run in entries(at(report, "runs")) if isinstance(at(run, "speed"), Mapping)]
    if not runs:
        return None
    lines = [
        [
            run_key(run),
            count(at(run, "speed", "frames")),
            short(at(run, "speed", "frames_per_s")),
            with_unit(short(at(run, "speed", "network_ms_p50")), "ms"),
            count(at(run, "speed", "batch")),
        ]
        for run in runs
    ]
    head = ["Offline", "Images", "Images/s", "Network, median", "Batch"]
    caption = "Images/s is of the whole way from the bag to the scores; the network's time is of one batch."
    return simple(caption, head, lines, "Offline speed", "numbers")


def _rates(live: Mapping[str, Any], runs: list[Any]) -> Markup:
    lines = [
        [
            rate_name(run),
            with_unit(number(at(run, "seconds"), 1), "s"),
            count(at(run, "sent")),
            count(at(run, "received")),
            _alarming(at(run, "dropped_by_node")),
            _alarming(at(run, "lost_by_dds")),
            _alarming(at(run, "unexpected")),
            short(at(run, "sent_hz")),
            short(at(run, "received_hz")),
            *(short(at(run, "latency_ms", name)) for name in ("p50", "p90", "p95", "p99", "max")),
            *(short(at(run, "jitter_ms", name)) for name in ("p50", "p99")),
            _two(run, "cpu_percent", "mean", "max"),
            _memory(at(run, "memory_mib")),
            _gpu(at(run, "gpu")),
        ]
        for run in runs
    ]
    groups = [
        ("Offered", []),
        ("Messages", ["for", "sent", "answers", "dropped by node", "lost by DDS", "unexpected"]),
        ("Rate (Hz)", ["sent", "answers"]),
        ("Latency (ms)", ["p50", "p90", "p95", "p99", "max"]),
        ("Jitter (ms)", ["p50", "p99"]),
        ("Load", ["CPU % mean / max", "memory (MiB)", "GPU"]),
    ]
    start = with_unit(number(at(live, "start_up_s"), 1), "s")
    caption = (
        f"Measured from another process over DDS. Start-up until the first answer: {start}. Highest rate without a "
        f"drop: {with_unit(short(at(live, 'highest_rate_hz')), 'Hz')}. Latency: image sent until depth received. "
        "Jitter: how far the time between answers is from the time between their images. CPU: 100 % is one core."
    )
    return grouped(caption, groups, lines, "Live rates, drops and latency")


def _latencies(live: Mapping[str, Any], runs: list[Any]) -> Markup:
    best = best_live_run(live)
    shown = next((index for index, run in enumerate(runs) if run is best), 0)
    options = [
        tag("option", rate_name(run), value=str(index), selected=index == shown) for index, run in enumerate(runs)
    ]
    chooser = tag("label", "Offered rate ", tag("select", options, id="rate", autocomplete="off"), class_="chooser")
    panels = [
        tag("div", _latency_charts(run), class_="columns", data_rate=str(index), hidden=index != shown)
        for index, run in enumerate(runs)
    ]
    overview = None
    if len(runs) > 1:
        series = [
            Series(name, [figure(at(run, "latency_ms", name)) for run in runs], style)
            for name, style in zip(_PERCENTILES, ("metric", "scaled", "third"))
        ]
        overview = rows("Latency by offered rate (ms)", [rate_name(run) for run in runs], series)
    return join((overview, chooser if len(runs) > 1 else None, panels))


def _latency_charts(run: Any) -> list[Markup]:
    milliseconds = [figure(value) for value in entries(at(run, "latencies", "ms"))]
    seconds = [figure(value) for value in entries(at(run, "latencies", "t_s"))]
    length = min(len(milliseconds), len(seconds))
    marks = [
        Reference(f"{name} {short(value)} ms", value, f"mark-{name}")
        for name in _PERCENTILES
        if (value := figure(at(run, "latency_ms", name))) is not None
    ]
    return [
        histogram("Latency", milliseconds, "ms", marks, f"answers, {rate_name(run)}"),
        curves(
            "Latency over time (ms)",
            seconds[:length],
            [Series("one answer", milliseconds[:length], "metric")],
            rate_name(run),
            dots=True,
        ),
    ]


def _alarming(value: Any) -> Markup | str:
    return tag("strong", count(value), class_="alarm") if (figure(value) or 0) > 0 else count(value)


def _two(run: Any, group: str, first: str, second: str) -> str:
    return f"{count(at(run, group, first))} / {count(at(run, group, second))}"


def _memory(memory: Any) -> str:
    return f"{count(at(memory, 'start'))} → {count(at(memory, 'end'))} (max {count(at(memory, 'max'))})"


def _gpu(gpu: Any) -> str:
    if not isinstance(gpu, Mapping):
        return DASH
    used, memory = at(gpu, "utilisation_percent"), at(gpu, "memory_mib", "max")
    return f"{count(at(used, 'mean'))} % / {count(at(used, 'max'))} %, {with_unit(count(memory), 'MiB')}"
