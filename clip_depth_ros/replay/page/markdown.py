"""A report as Markdown, to read in a terminal or to paste."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from clip_depth_ros.replay.page.plain import plain
from clip_depth_ros.replay.page.text import (
    DASH,
    METRICS,
    at,
    count,
    entries,
    figure,
    number,
    percent,
    rate_name,
    run_key,
    short,
    span,
    with_unit,
)
from clip_depth_ros.replay.page.verdict import constant_name, data_caption, notices, verdict

_MAIN = ("abs_rel", "rmse", "a1")


def markdown(report: Mapping[str, Any]) -> str:
    """Returns the report's sentences and tables; cells of metrics read ``metric / median-scaled``."""
    content = plain(report)
    found = verdict(content)
    lines = [f"# {safe(at(content, 'title') or 'Replay')}", "", f"**{found.headline}.**", ""]
    lines += [f"- {safe(sentence)}" for sentence in found.sentences]
    lines += [f"- note: {safe(text)}" for text in notices(content)]
    for part in (_metrics(content), _bands(content), _cloud(content), _live(content), _matching(content)):
        lines += ["", *part] if part else []
    for title, values in (("Settings", at(content, "settings")), ("Weights", at(content, "provenance"))):
        if isinstance(values, Mapping) and values:
            lines += ["", f"## {title}", "", *(f"- {safe(name)}: {safe(text)}" for name, text in values.items())]
    return "\n".join(lines) + "\n"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns a Markdown table with its columns aligned; numbers stand to the right."""
    cells = [list(head), *([safe(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first, *rest = (
            cell.rjust(width) if index else cell.ljust(width) for index, (cell, width) in enumerate(zip(row, widths))
        )
        return "| " + " | ".join([first, *rest]) + " |"

    rule = (
        "|"
        + "|".join("-" * (width + 2) if not index else "-" * (width + 1) + ":" for index, width in enumerate(widths))
        + "|"
    )
    return [line(cells[0]), rule, *map(line, cells[1:])]


def safe(text: Any) -> str:
    """Returns text in one line in which nothing is Markdown's or HTML's."""
    found = DASH if text is None else " ".join(str(text).split())
    for character in "\\`*|[]":
        found = found.replace(character, f"\\{character}")
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", found)


def _compared(report: Mapping[str, Any]) -> list[Any]:
    return [run for run in entries(at(report, "runs")) if isinstance(at(run, "accuracy"), Mapping)]


def _both(values: Any, key: str, digits: int = 3) -> str:
    return f"{number(at(values, 'metric', key), digits)} / {number(at(values, 'median_scaled', key), digits)}"


def _metrics(report: Mapping[str, Any]) -> list[str]:
    runs = _compared(report)
    if not runs:
        return []
    named = [(run_key(run), at(run, "accuracy")) for run in runs]
    accuracy = named[0][1]
    named.append((constant_name(accuracy), at(accuracy, "constant")))
    rows = [[name, *(_both(values, metric.key) for metric in METRICS)] for name, values in named]
    return [
        "## Accuracy: metric / median-scaled",
        "",
        safe(data_caption(report, accuracy)),
        "",
        *aligned(["", *(metric.label for metric in METRICS)], rows),
    ]


def _bands(report: Mapping[str, Any]) -> list[str]:
    labels = {metric.key: metric.label for metric in METRICS}
    rows = [
        [
            run_key(run),
            span(at(band, "near_m"), at(band, "far_m"), "m"),
            percent(at(band, "share"), 1),
            *(_both(band, key) for key in _MAIN),
        ]
        for run in _compared(report)
        for band in entries(at(run, "accuracy", "bands"))
    ]
    if not rows:
        return []
    head = ["", "truth", "pixels", *(labels[key] for key in _MAIN)]
    caption = data_caption(report, at(_compared(report)[0], "accuracy"))
    return ["## By distance: metric / median-scaled", "", safe(caption), "", *aligned(head, rows)]


def _cloud(report: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            run_key(run),
            *(
                f"{percent(at(cloud, 'metric', key), 1)} / {percent(at(cloud, 'median_scaled', key), 1)}"
                for key in ("within_5cm", "within_10cm")
            ),
            _both(cloud, "median_error_m"),
            short(at(run, "accuracy", "scale", "median")),
            short(at(run, "accuracy", "flicker", "mean")),
        ]
        for run in _compared(report)
        for cloud in [at(run, "accuracy", "cloud")]
    ]
    if not rows:
        return []
    head = ["", "points within 5 cm", "within 10 cm", "median error (m)", "scale", "flicker"]
    caption = data_caption(report, at(_compared(report)[0], "accuracy"))
    title = "## Cloud (metric / median-scaled), scale and flicker"
    return [title, "", safe(caption), "", *aligned(head, rows)]


def _live(report: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            rate_name(run),
            *(count(at(run, key)) for key in ("sent", "received", "dropped_by_node", "lost_by_dds")),
            short(at(run, "received_hz")),
            *(short(at(run, "latency_ms", name)) for name in ("p50", "p95", "p99", "max")),
            short(at(run, "jitter_ms", "p99")),
            count(at(run, "cpu_percent", "mean")),
            count(at(run, "memory_mib", "max")),
        ]
        for run in entries(at(report, "live", "runs"))
    ]
    if not rows:
        return []
    head = ["offered", "sent", "answers", "dropped by node", "lost by DDS", "answers Hz", "latency p50 (ms)"]
    head += ["p95", "p99", "max", "jitter p99 (ms)", "CPU %", "MiB"]
    return ["## Live", "", *aligned(head, rows)]


def _matching(report: Mapping[str, Any]) -> list[str]:
    matching = at(report, "matching")
    if not isinstance(matching, Mapping):
        return []
    tolerance = figure(at(matching, "tolerance_s"))
    within = with_unit(short(None if tolerance is None else 1000 * tolerance), "ms")
    lines = [
        f"{count(at(matching, 'matched'))} of {count(at(matching, 'images'))} images were matched with "
        f"{count(at(matching, 'truths'))} ground truths by header stamp, within {within}."
    ]
    return lines + [f"- {safe(note)}" for note in entries(at(matching, "notes")) if note is not None]
