"""Charts as inline SVG that fits any width: text keeps its size, only what is drawn stretches.

Positions are percentages. Curves are drawn in a nested picture of 100 by 100 units that is stretched over the plot,
with strokes that are not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clip_depth_ros.replay.page.axes import Values, axis_limits, round_ticks, thinned_points, top_of
from clip_depth_ros.replay.page.markup import Markup, join, tag
from clip_depth_ros.replay.page.text import DASH, short

_MOST_BAR_LABELS = 12
_BINS = 36
_ROOM = 88.0  # percent of a row that its longest bar takes; the rest is for its number

Format = Callable[[float | None], str]


@dataclass(frozen=True)
class Series:
    """Values under a name; ``style`` is the CSS class that gives their colour."""

    name: str
    values: Values
    style: str


@dataclass(frozen=True)
class Reference:
    """A value to compare with: a line across (bars, curves) or upright (histogram)."""

    name: str
    value: float | None
    style: str = "constant"


def bars(
    title: str,
    categories: Sequence[str],
    series: Sequence[Series],
    note: str = "",
    references: Sequence[Reference] = (),
    text: Format = short,
) -> Markup:
    """Returns groups of upright bars: one group a category, one bar in it a series."""
    top = top_of([*(value for one in series for value in one.values), *(one.value for one in references)])
    group = 100 / max(len(categories), 1)
    width = group * 0.76 / max(len(series), 1)
    labelled = len(categories) * len(series) <= _MOST_BAR_LABELS
    drawn: list[Markup] = []
    for index, category in enumerate(categories):
        for position, one in enumerate(series):
            value = one.values[index]
            left = index * group + group * 0.12 + position * width
            drawn.append(_bar(left, width, value, top, one, category, text, labelled))
    drawn.extend(_across(one, 0.0, top) for one in references)
    spoken = "; ".join(
        f"{category}: " + ", ".join(f"{one.name} {text(one.values[index])}" for one in series)
        for index, category in enumerate(categories)
    )
    names = [((index + 0.5) * group, category) for index, category in enumerate(categories)]
    legend = [*((one.style, one.name) for one in series), *((f"{one.style} line", one.name) for one in references)]
    return _figure(title, note, drawn, (0.0, top), names, legend, f"{title}. {spoken}")


def rows(
    title: str,
    names: Sequence[str],
    series: Sequence[Series],
    note: str = "",
    references: Sequence[Reference] = (),
    text: Format = short,
) -> Markup:
    """Returns lying bars: one row a name, whatever its length, one bar in it a series."""
    top = top_of([*(value for one in series for value in one.values), *(one.value for one in references)])
    thickness = 100 / max(len(series), 1)
    lines = []
    for index, name in enumerate(names):
        drawn = []
        for position, one in enumerate(series):
            width = _ROOM * (one.values[index] or 0.0) / top
            place = {"y": _pc(position * thickness + 0.1 * thickness), "height": _pc(0.8 * thickness)}
            middle = _pc((position + 0.5) * thickness)
            drawn.append(tag("rect", class_=f"bar {one.style}", x="0%", width=_pc(width), **place))
            drawn.append(tag("text", text(one.values[index]), x=_pc(width), dx="5", y=middle, dy="0.34em"))
        for line in references:
            if line.value is not None:
                x = _pc(_ROOM * line.value / top)
                drawn.append(tag("line", class_=f"reference {line.style}", x1=x, x2=x, y1="0%", y2="100%"))
        spoken = f"{name}: " + ", ".join(f"{one.name} {text(one.values[index])}" for one in series)
        svg = tag("svg", drawn, class_=f"row-plot of-{len(series)}", role="img", aria_label=spoken)
        lines.append(join((tag("span", name, class_="row-name", aria_hidden="true"), svg)))
    legend = [
        *((one.style, one.name) for one in series),
        *((f"{one.style} line upright", one.name) for one in references),
    ]
    return tag("figure", _heading(title, note, legend), tag("div", lines, class_="rows"), class_="chart")


def curves(
    title: str,
    seconds: Values,
    series: Sequence[Series],
    note: str = "",
    references: Sequence[Reference] = (),
    from_zero: bool = True,
    dots: bool = False,
) -> Markup:
    """Returns values over time (seconds, ascending); pointing at it reads them, and the strip's slider marks its time.

    Args:
        title: of the chart.
        seconds: when; entries without a time are left out.
        series: values of the same length; gaps stay gaps.
        note: what belongs to the title.
        references: lines across.
        from_zero: the axis begins at 0; otherwise at the lowest value.
        dots: points instead of a line.
    """
    kept = [index for index, value in enumerate(seconds) if value is not None]
    thinned = [
        thinned_points([seconds[index] for index in kept], [one.values[index] for index in kept]) for one in series
    ]
    finite = [value for _, values in thinned for value in values if value is not None]
    if not finite:
        return nothing(title, "There is no value to draw.")
    low, top = axis_limits([*finite, *(one.value for one in references)], from_zero)
    times = thinned[0][0]
    start, end = times[0], times[-1]
    stretch = (end - start) or 1.0
    paths = []
    for one, (when, levels) in zip(series, thinned):
        points = [
            None if value is None else (100 * (time - start) / stretch, 100 * (1 - (value - low) / (top - low)))
            for time, value in zip(when, levels)
        ]
        paths.append(tag("path", class_=f"curve {one.style}{' dots' if dots else ''}", d=_path(points, dots)))
    drawn = [_stretched(paths), *(_across(one, low, top) for one in references), _cursor()]
    legend = [*((one.style, one.name) for one in series), *((f"{one.style} line", one.name) for one in references)]
    ticks = [(100 * (tick - start) / stretch, f"{short(tick, 6)} s") for tick in round_ticks(start, end, 5)]
    data = {
        "start": start,
        "end": end,
        "series": [{"name": one.name, "t": when, "v": values} for one, (when, values) in zip(series, thinned)],
    }
    spoken = "; ".join(f"{one.name} {_summary(one.values)}" for one in series)
    return _figure(
        title, note, drawn, (low, top), ticks, legend, f"{title} over {short(stretch)} seconds. {spoken}", data
    )


def histogram(title: str, values: Values, unit: str, marks: Sequence[Reference], note: str = "") -> Markup:
    """Returns how often values fall where; a few far above all others share the last bar."""
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return nothing(title, "There is no value to draw.")
    usual = ordered[min(len(ordered) - 1, int(0.995 * len(ordered)))]
    start, end = 0.0 if ordered[0] < 0.3 * usual else ordered[0], ordered[-1]
    cut = end > 2 * usual > 0
    if cut:
        end = 1.25 * usual
    width = (end - start) / _BINS or 1.0
    counts = [0] * _BINS
    for value in ordered:
        counts[min(_BINS - 1, int((value - start) / width))] += 1
    top = top_of([float(one) for one in counts])
    end = start + width * _BINS
    drawn = []
    for index, number in enumerate(counts):
        low, high = short(start + index * width), short(start + (index + 1) * width)
        place = f"{low} {unit} and more" if cut and index == _BINS - 1 else f"{low} to {high} {unit}"
        bar = Series(place, [], "metric")
        drawn.append(_bar(100 * index / _BINS, 92 / _BINS, float(number), top, bar, "", short, False))
    legend = []
    for one in marks:
        if one.value is not None:
            at = min(100.0, 100 * (one.value - start) / (end - start))
            drawn.append(tag("line", class_=f"reference {one.style}", x1=_pc(at), x2=_pc(at), y1="0%", y2="100%"))
            legend.append((f"{one.style} line upright", one.name))
    ticks = [(100 * (tick - start) / (end - start), f"{short(tick, 6)} {unit}") for tick in round_ticks(start, end, 5)]
    spoken = f"{title}. {len(ordered)} values, {_summary(ordered)} {unit}"
    return _figure(title, note, drawn, (0.0, top), ticks, legend, spoken)


def nothing(title: str, why: str) -> Markup:
    """Returns the place of a chart that cannot be drawn."""
    return tag("figure", tag("figcaption", tag("strong", title)), tag("p", why, class_="empty"), class_="chart")


def _figure(
    title: str,
    note: str,
    drawn: Sequence[Markup],
    limits: tuple[float, float],
    x_ticks: Sequence[tuple[float, str]],
    legend: Sequence[tuple[str, str]],
    spoken: str,
    data: object = None,
) -> Markup:
    low, top = limits
    levels = [(100 * (1 - (tick - low) / (top - low)), short(tick, 6)) for tick in round_ticks(low, top, 4)]
    grid = [tag("line", class_="grid", x1="0%", x2="100%", y1=_pc(level), y2=_pc(level)) for level, _ in levels]
    upright = [tag("text", text, x="100%", y=_pc(level), dy="0.32em", text_anchor="end") for level, text in levels]
    below = [tag("text", text, x=_pc(place), y="14", text_anchor="middle") for place, text in x_ticks]
    return tag(
        "figure",
        _heading(title, note, legend),
        tag(
            "div",
            tag("svg", upright, class_="axis-y", aria_hidden="true"),
            tag("svg", grid, drawn, class_="plot", role="img", aria_label=spoken),
            tag("svg", below, class_="axis-x", aria_hidden="true"),
            class_="frame",
        ),
        tag("p", class_="readout", aria_hidden="true") if data else None,
        class_="chart",
        data_curves=json.dumps(data, allow_nan=False, separators=(",", ":")) if data else None,
    )


def _heading(title: str, note: str, legend: Sequence[tuple[str, str]]) -> Markup:
    caption = tag("figcaption", tag("strong", title), tag("span", note, class_="note") if note else None)
    if not legend:
        return caption
    names = [tag("li", tag("i", class_=f"swatch {style}"), name) for style, name in legend]
    return join((caption, tag("ul", names, class_="legend")))


def _bar(
    left: float, width: float, value: float | None, top: float, one: Series, category: str, text: Format, label: bool
) -> Markup:
    height = 0.0 if value is None else 100 * value / top
    named = ": ".join(part for part in (category, f"{one.name} {text(value)}") if part)
    rectangle = tag(
        "rect",
        tag("title", named),
        class_=f"bar {one.style}",
        x=_pc(left),
        y=_pc(100 - height),
        width=_pc(width),
        height=_pc(height),
    )
    if not label:
        return rectangle
    words = tag("text", text(value), class_="value", x=_pc(left + width / 2), y=_pc(100 - height), dy="-4")
    return join((rectangle, words))


def _across(one: Reference, low: float, top: float) -> Markup:
    if one.value is None:
        return Markup("")
    level = _pc(100 * (1 - (one.value - low) / (top - low)))
    return tag("line", tag("title", one.name), class_=f"reference {one.style}", x1="0%", x2="100%", y1=level, y2=level)


def _cursor() -> Markup:
    return join(tag("line", class_=name, x1="0%", x2="0%", y1="0%", y2="100%") for name in ("moment", "pointed"))


def _stretched(paths: Sequence[Markup]) -> Markup:
    return tag("svg", paths, viewBox="0 0 100 100", preserveAspectRatio="none", width="100%", height="100%")


def _path(points: Sequence[tuple[float, float] | None], dots: bool) -> str:
    written, pen_down = [], False
    for index, point in enumerate(points):
        if point is None:
            pen_down = False
            continue
        lonely = not pen_down and (index + 1 == len(points) or points[index + 1] is None)
        written.append(f"{'L' if pen_down and not dots else 'M'}{point[0]:.2f} {point[1]:.2f}")
        if dots or lonely:
            written.append("h0")  # a line of no length is a dot where its caps are round
        pen_down = True
    return "".join(written)


def _summary(values: Values) -> str:
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return DASH
    return f"from {short(ordered[0])} to {short(ordered[-1])}, median {short(ordered[len(ordered) // 2])}"


def _pc(value: float) -> str:
    return f"{value:.2f}%"
