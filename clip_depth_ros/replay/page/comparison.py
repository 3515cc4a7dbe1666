"""Several reports on one page, in the look of a report."""

from __future__ import annotations

from collections.abc import Sequence

from clip_depth_ros.replay.compare import CAPTION, LABELS, Comparison, Row
from clip_depth_ros.replay.page.charts import Series, rows
from clip_depth_ros.replay.page.document import page, section
from clip_depth_ros.replay.page.markup import Markup, join, tag
from clip_depth_ros.replay.page.tables import grouped
from clip_depth_ros.replay.page.text import number, short


def comparison_page(comparison: Comparison) -> str:
    """Returns the table and the plots as one self-contained HTML page in the look of a report."""
    names = dict.fromkeys(row.report for row in comparison.rows)
    notices = [tag("p", remark, class_="notice") for remark in comparison.remarks]
    header = tag(
        "header",
        tag("p", "Replay reports", class_="eyebrow"),
        tag("h1", f"{len(comparison.rows)} runs compared"),
        tag("p", " · ".join(names), class_="about"),
        tag("div", notices, role="note") if notices else None,
    )
    body = join((header, section("table", "All runs", _table(comparison.rows)), *_plots(comparison.rows)))
    return page("Replay reports compared", body, {})


def _table(found: Sequence[Row]) -> Markup:
    groups = [
        ("Run", []),
        ("", ["images"]),
        ("Metric", LABELS),
        ("Median-scaled", LABELS),
        ("Constant", ["AbsRel"]),
        ("Offline", ["images/s"]),
        ("Live", ["latency p50 (ms)", "p99 (ms)", "at Hz", "highest Hz"]),
    ]
    lines = [
        [
            row.label,
            short(row.images, 9),
            *(number(value) for value in (*row.metric, *row.median_scaled, row.constant_abs_rel)),
            *(
                short(value)
                for value in (
                    row.frames_per_s,
                    row.latency_p50_ms,
                    row.latency_p99_ms,
                    row.latency_at_hz,
                    row.highest_rate_hz,
                )
            ),
        ]
        for row in found
    ]
    return grouped(CAPTION, groups, lines, "All runs of all reports")


def _plots(found: Sequence[Row]) -> list[Markup]:
    sections = []
    scored = [row for row in found if row.metric[0] is not None]
    if scored:
        series = [
            Series("Metric", [row.metric[0] for row in scored], "metric"),
            Series("Median-scaled", [row.median_scaled[0] for row in scored], "scaled"),
            Series("Constant, metric", [row.constant_abs_rel for row in scored], "constant"),
        ]
        names = [row.label for row in scored]
        chart = rows("AbsRel, lower is better", names, series, text=number)
        sections.append(section("accuracy", "Accuracy", chart))
    timed = [row for row in found if row.frames_per_s is not None]
    answered = _once_a_report(found)
    charts = []
    if timed:
        rates = [Series("Images/s", [row.frames_per_s for row in timed], "metric")]
        charts.append(rows("Offline speed (images/s)", [row.label for row in timed], rates))
    if answered:
        latencies = [
            Series("p50", [row.latency_p50_ms for _, row in answered], "metric"),
            Series("p99", [row.latency_p99_ms for _, row in answered], "scaled"),
        ]
        names = [f"{name}, {short(row.latency_at_hz)} Hz" for name, row in answered]
        charts.append(rows("Live latency (ms)", names, latencies))
    if charts:
        sections.append(section("speed", "Speed", tag("div", charts, class_="columns")))
    return sections


def _once_a_report(found: Sequence[Row]) -> list[tuple[str, Row]]:
    """Returns one row of each report whose node ran live: its runs share that measurement."""
    first: dict[str, Row] = {}
    for row in found:
        if row.latency_p50_ms is not None:
            first.setdefault(row.report, row)
    return list(first.items())
