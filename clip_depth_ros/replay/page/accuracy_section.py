"""How good the depth is: all metrics, by head and condition, by distance, by image region, over time, as a cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from clip_depth_ros.replay.page.charts import Reference, Series, bars, curves, rows
from clip_depth_ros.replay.page.markup import Markup, join, tag
from clip_depth_ros.replay.page.tables import SCALINGS, all_metrics, grouped, simple
from clip_depth_ros.replay.page.text import (
    DASH,
    at,
    count,
    entries,
    figure,
    number,
    percent,
    run_key,
    short,
    span,
    with_unit,
)
from clip_depth_ros.replay.page.verdict import constant_name, data_caption, drift_is_known

_HEAT_STEPS = 9
_SHOWN = (("abs_rel", "AbsRel"), ("rmse", "RMSE (m)"), ("a1", "δ1"))


def accuracy_section(report: Mapping[str, Any]) -> Markup:
    """Returns the tables of runs and, for every run, its details."""
    runs = entries(at(report, "runs"))
    parts = [all_metrics(report), _runs_chart(runs)]
    if any(isinstance(at(run, "accuracy"), Mapping) for run in runs):
        parts.append(per_run(runs, lambda run: _details(report, run)))
    return join(parts)


def time_section(report: Mapping[str, Any]) -> Markup:
    """Returns, for every run, error, scale and flicker over time."""
    return per_run(entries(at(report, "runs")), _over_time)


def per_run(runs: Sequence[Any], panel: Any) -> Markup:
    """Returns one panel a run, of which the page's chooser shows one."""
    several = len(runs) > 1
    return join(
        tag(
            "div",
            tag("h3", run_key(run), class_="run-name") if several else None,
            panel(run),
            data_run=str(index),
            hidden=index > 0,
        )
        for index, run in enumerate(runs)
    )


def _runs_chart(runs: Sequence[Any]) -> Markup | None:
    """Returns AbsRel of every head under every condition, metric and median-scaled, where there are several."""
    compared = [run for run in runs if figure(at(run, "accuracy", "metric", "abs_rel")) is not None]
    if len(compared) < 2:
        return None
    series = [
        Series(title, [figure(at(run, "accuracy", scaling, "abs_rel")) for run in compared], style)
        for (scaling, title), style in zip(SCALINGS, ("metric", "scaled"))
    ]
    accuracy = at(compared[0], "accuracy")
    flat = Reference(f"{constant_name(accuracy)}, metric", figure(at(accuracy, "constant", "metric", "abs_rel")))
    return rows("AbsRel of every run", [run_key(run) for run in compared], series, references=[flat], text=number)


def _details(report: Mapping[str, Any], run: Any) -> Markup:
    accuracy = at(run, "accuracy")
    if not isinstance(accuracy, Mapping):
        return tag("p", "This run could not be compared with ground truth.", class_="empty")
    return join(
        (
            tag("div", _bands(report, run), _regions(report, accuracy), class_="columns"),
            _band_table(report, accuracy),
            tag("h3", "The cloud"),
            _cloud(report, accuracy),
        )
    )


def _band_name(band: Any) -> str:
    near, far = figure(at(band, "near_m")), figure(at(band, "far_m"))
    return f"{short(near)} m +" if far is None else f"{short(near)}{DASH}{short(far)} m"


def _bands(report: Mapping[str, Any], run: Any) -> Markup:
    found = entries(at(run, "accuracy", "bands"))
    series = [
        Series(title, [figure(at(band, scaling, "abs_rel")) for band in found], style)
        for (scaling, title), style in zip(SCALINGS, ("metric", "scaled"))
    ]
    return bars(
        "AbsRel by distance",
        [_band_name(band) for band in found],
        series,
        "distance of the truth",
        text=partial(number, digits=2),
    )


def _band_table(report: Mapping[str, Any], accuracy: Any) -> Markup:
    lines = [
        [
            span(at(band, "near_m"), at(band, "far_m"), "m"),
            percent(at(band, "share"), 1),
            *(number(at(band, scaling, key)) for scaling, _ in SCALINGS for key, _ in _SHOWN),
        ]
        for band in entries(at(accuracy, "bands"))
    ]
    labels = [label for _, label in _SHOWN]
    caption = (
        f"{data_caption(report, accuracy)} Pixels of all images pooled by the distance of their truth; "
        "median scaling is of whole images."
    )
    groups = [("Truth", []), ("", ["Pixels"]), *((title, labels) for _, title in SCALINGS)]
    return grouped(caption, groups, lines, "Error by distance")


def _regions(report: Mapping[str, Any], accuracy: Any) -> Markup:
    regions = at(accuracy, "regions")
    grids = [(title, entries(at(regions, f"{scaling}_abs_rel"))) for scaling, title in SCALINGS]
    finite = [
        value for _, grid in grids for row in grid for cell in entries(row) if (value := figure(cell)) is not None
    ]
    if not finite:
        return tag("figure", tag("figcaption", tag("strong", "AbsRel by image region")), tag("p", DASH), class_="chart")
    share = entries(at(regions, "share"))
    drawn = [_region_grid(title, grid, share, max(finite)) for title, grid in grids]
    return tag(
        "figure",
        tag("figcaption", tag("strong", "AbsRel by image region"), tag("span", "as the camera sees it", class_="note")),
        tag("div", drawn, class_="regions"),
        tag(
            "p", "Redder is worse, on one scale. Small: the region's share of the pixels with truth.", class_="caption"
        ),
        class_="chart",
    )


def _region_grid(title: str, grid: Sequence[Any], share: Sequence[Any], worst: float) -> Markup:
    lines = []
    for row_index, row in enumerate(grid):
        shares = entries(share[row_index]) if row_index < len(share) else []
        cells = []
        for column, value in enumerate(entries(row)):
            found = figure(value)
            heat = "none" if found is None else str(round(_HEAT_STEPS * found / worst)) if worst else "0"
            part = percent(shares[column]) if column < len(shares) else DASH
            cells.append(tag("td", number(found), tag("small", part), class_=f"heat-{heat}"))
        lines.append(tag("tr", cells))
    return tag("table", tag("caption", title), tag("tbody", lines), class_="region-grid")


def _cloud(report: Mapping[str, Any], accuracy: Any) -> Markup:
    cloud = at(accuracy, "cloud")
    if not isinstance(cloud, Mapping):
        return tag("p", "No figures of the cloud: they need the camera's calibration.", class_="empty")
    lines = [
        [
            title,
            percent(at(cloud, scaling, "within_5cm"), 1),
            percent(at(cloud, scaling, "within_10cm"), 1),
            with_unit(number(at(cloud, scaling, "median_error_m")), "m"),
        ]
        for scaling, title in SCALINGS
    ]
    caption = (
        f"{data_caption(report, accuracy)} {count(at(cloud, 'points'))} points, each compared with the true point of "
        "the same pixel, on the same ray."
    )
    head = ["Points", "within 5 cm", "within 10 cm", "median error"]
    return simple(caption, head, lines, "Error of the cloud", "numbers")


def _over_time(run: Any) -> Markup:
    frames = at(run, "frames")
    seconds = [figure(value) for value in entries(at(frames, "t_s"))]

    def column(name: str) -> list[float | None]:
        values = [figure(value) for value in entries(at(frames, name))]
        return (values + [None] * len(seconds))[: len(seconds)]

    flicker = at(run, "accuracy", "flicker")
    truth = figure(at(flicker, "truth_mean"))
    drawn = [
        curves(title, seconds, series, note, references, from_zero)
        for title, series, note, references, from_zero in (
            (
                "AbsRel of each image",
                [
                    Series("Metric", column("abs_rel"), "metric"),
                    Series("Median-scaled", column("abs_rel_median_scaled"), "scaled"),
                ],
                "",
                [],
                True,
            ),
            (
                "Scale of each image",
                [Series("median predicted / median true", column("scale"), "metric")],
                _scale_note(run),
                [Reference("the truth's", 1.0)],
                False,
            ),
            (
                "Flicker at static pixels",
                [Series("mean |log change| against the image before", column("flicker"), "metric")],
                _flicker_note(flicker),
                [Reference("the truth's own", truth)] if truth is not None else [],
                True,
            ),
        )
        if any(value is not None for one in series for value in one.values)
    ]
    if not drawn:
        return tag("p", "No image has a value to draw over time.", class_="empty")
    return tag("div", drawn, class_="columns level")


def _scale_note(run: Any) -> str:
    scale = at(run, "accuracy", "scale")
    if figure(at(scale, "median")) is None:
        return ""
    drift = figure(at(scale, "drift_per_minute"))
    text = f"median {short(at(scale, 'median'))}, p10 to p90 {short(at(scale, 'p10'))} to {short(at(scale, 'p90'))}"
    return text if drift is None or not drift_is_known(run) else f"{text}, drift {100 * drift:+.1f} % a minute"


def _flicker_note(flicker: Any) -> str:
    if figure(at(flicker, "mean")) is None:
        return ""
    share = percent(at(flicker, "pixels_share"))
    return (
        f"mean {short(at(flicker, 'mean'))}, truth {short(at(flicker, 'truth_mean'))}; {share} of the pixels are static"
    )
