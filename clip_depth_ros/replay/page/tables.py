"""Tables and captions that several sections share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clip_depth_ros.replay.page.markup import Markup, join, tag
from clip_depth_ros.replay.page.text import DASH, METRICS, at, entries, figure, number, run_key
from clip_depth_ros.replay.page.verdict import constant_name, data_caption

SCALINGS = (("metric", "Metric"), ("median_scaled", "Median-scaled"))


def table(caption: Any, head: Sequence[Markup], rows: Sequence[Markup], name: str, style: str = "") -> Markup:
    """Returns a table in a box of its own that scrolls where the screen is narrow."""
    grid = tag("table", tag("thead", head), tag("tbody", rows), class_=style or None)
    box = tag("div", grid, class_="scroll", tabindex="0", role="region", aria_label=name)
    return join((box, tag("p", caption, class_="caption") if caption else None))


def simple(caption: Any, head: Sequence[str], rows: Sequence[Sequence[Any]], name: str, style: str = "") -> Markup:
    """Returns a table of one header row whose first column names each row."""
    top = tag("tr", [tag("th", text, scope="col") for text in head])
    lines = [tag("tr", tag("th", row[0], scope="row"), [tag("td", cell) for cell in row[1:]]) for row in rows]
    return table(caption, [top], lines, name, style)


def grouped(
    caption: Any, groups: Sequence[tuple[str, Sequence[str]]], rows: Sequence[Sequence[Any]], name: str
) -> Markup:
    """Returns a table whose columns stand in named groups; the first group holds the name of each row."""
    (corner, _), *others = groups
    top = tag(
        "tr",
        tag("th", corner, rowspan="2", scope="col"),
        [tag("th", title, colspan=str(len(names)), scope="colgroup", class_="group") for title, names in others],
    )
    below = tag("tr", [[tag("th", text, scope="col", class_=_edge(i)) for i, text in enumerate(n)] for _, n in others])
    edges = [_edge(index) for _, names in others for index, _ in enumerate(names)]
    lines = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            [tag("td", cell, class_=edge) for cell, edge in zip(row[1:], edges)],
        )
        for row in rows
    ]
    return table(caption, [top, below], lines, name, "numbers")


def _edge(index: int) -> str | None:
    return None if index else "first"


def pairs(values: Any, empty: str) -> Markup:
    """Returns names and texts of a mapping as a list of definitions."""
    if not isinstance(values, Mapping) or not values:
        return tag("p", empty, class_="empty")
    rows = [tag("div", tag("dt", key), tag("dd", DASH if text in (None, "") else text)) for key, text in values.items()]
    return tag("dl", rows, class_="pairs")


def all_metrics(report: Mapping[str, Any]) -> Markup:
    """Returns the table of runs: the nine metrics, as they are and median-scaled, and those of the constant."""
    runs = [run for run in entries(at(report, "runs")) if isinstance(at(run, "accuracy"), Mapping)]
    if not runs:
        return tag("p", "No run could be compared with ground truth.", class_="empty")
    best = {
        (scaling, metric.key): _best([at(run, "accuracy", scaling, metric.key) for run in runs], metric.lower_is_better)
        for scaling, _ in SCALINGS
        for metric in METRICS
    }
    rows = [_metric_row(run_key(run), at(run, "accuracy"), best, "") for run in runs]
    for run in _different_constants(runs):
        accuracy = at(run, "accuracy")
        rows.append(_metric_row(constant_name(accuracy).capitalize(), at(accuracy, "constant"), {}, "baseline"))
    top = tag(
        "tr",
        tag("th", "Run", rowspan="2", scope="col"),
        [tag("th", title, colspan=str(len(METRICS)), scope="colgroup", class_="group") for _, title in SCALINGS],
    )
    names = tag("tr", [[_metric_head(metric, not index) for index, metric in enumerate(METRICS)] for _ in SCALINGS])
    caption = (
        f"{data_caption(report, at(runs[0], 'accuracy'))} Mean of each image's own value. Median-scaled: every image "
        "multiplied by median(truth) / median(prediction) first. The constant is the median of this very ground truth: "
        "what knowing the place but not looking gives." + (" Bold: best of the runs." if len(runs) > 1 else "")
    )
    return table(caption, [top, names], rows, "All metrics of every run", "numbers metrics")


def _metric_head(metric: Any, first: bool) -> Markup:
    better = "lower is better" if metric.lower_is_better else "higher is better"
    arrow = tag("span", "↓" if metric.lower_is_better else "↑", class_="better", aria_label=better)
    return tag("th", metric.label, " ", arrow, scope="col", title=metric.meaning, class_="first" if first else None)


def _metric_row(name: str, values: Any, best: Mapping[tuple[str, str], float | None], style: str) -> Markup:
    cells = []
    for scaling, _ in SCALINGS:
        for index, metric in enumerate(METRICS):
            value = at(values, scaling, metric.key)
            wins = value is not None and best.get((scaling, metric.key)) == value
            digits = 2 if metric.key == "silog" else 3
            cell = tag("strong", number(value, digits)) if wins else number(value, digits)
            cells.append(tag("td", cell, class_=None if index else "first"))
    return tag("tr", tag("th", name, scope="row"), cells, class_=style or None)


def _best(values: Sequence[Any], lower: bool) -> float | None:
    finite = [value for value in values if figure(value) is not None]
    if len(finite) < 2:
        return None
    return min(finite) if lower else max(finite)


def _different_constants(runs: Sequence[Any]) -> list[Any]:
    """Returns one run for every constant that is in use: runs compared on the same images share theirs."""
    seen: list[Any] = []
    found = []
    for run in runs:
        constant = at(run, "accuracy", "constant")
        if isinstance(constant, Mapping) and constant not in seen:
            seen.append(constant)
            found.append(run)
    return found
