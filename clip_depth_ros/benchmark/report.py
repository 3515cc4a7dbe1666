"""What a part of the suite found: as JSON, as tables for people, and as a plot."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_depth_ros.benchmark.turns import machine, write_report
from clip_depth_ros.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_BUSY = 0.5  # load average above which others take time from what is measured


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading, as Markdown shows them."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Outcome:
    """What one part found.

    Attributes:
        title: what was measured, in words.
        results: every run's values, JSON-ready.
        tables: for people.
        draw: draws the plot into an empty figure.
        remarks: sentences that belong to the tables.
    """

    title: str
    results: Mapping[str, Any]
    tables: Sequence[Table]
    draw: Callable[[Figure], None]
    remarks: Sequence[str] = field(default_factory=tuple)


def write_outcome(arguments: argparse.Namespace, outcome: Outcome, load: float) -> None:
    """Prints the tables and writes ``PART.json``, ``PART.md`` and ``PART.png`` into the output folder.

    Args:
        arguments: the command's.
        outcome: what was found.
        load: processes that wanted to run when the measurement began, averaged over a minute.

    Raises:
        BadInput: a file cannot be written.
    """
    remarks = list(outcome.remarks)
    if load > _BUSY:
        remarks.append(f"The machine was not idle: its load average was {load:.1f} when this began.")
    text = "\n\n".join([*map(str, outcome.tables), *remarks])
    print(f"\n{outcome.title}\n\n{text}")
    plain = [{"header": list(table.header), "rows": [list(row) for row in table.rows]} for table in outcome.tables]
    found = _without_nan({**outcome.results})
    content = {"title": outcome.title, "load_average": load, **found, "tables": plain, "remarks": remarks}
    base: Path = arguments.output / arguments.part
    write_report(base.with_suffix(".json"), arguments, content)
    with replacing(base.with_suffix(".md")) as temporary:
        temporary.write_text(f"# {outcome.title}\n\n{text}\n\nMeasured on: {machine(arguments)}.\n", encoding="utf-8")
    _save_plot(base.with_suffix(".png"), outcome)
    print(f"Table: {base}.md, plot: {base}.png.")


def _without_nan(value: Any) -> Any:
    """Returns the value with None for every number that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _save_plot(path: Path, outcome: Outcome) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    outcome.draw(figure)
    figure.suptitle(outcome.title, fontsize="medium", wrap=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def draw_bars(figure: Figure, label: str, values: Mapping[str, Sequence[float]]) -> None:
    """Draws the median of each name's values as a bar, lowest and highest as its whiskers, and every value as a dot."""
    axes = figure.add_subplot()
    for position, runs in enumerate(values.values()):
        ordered = sorted(runs)
        middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        axes.barh(position, middle, color="tab:blue", alpha=0.5)
        axes.plot([ordered[0], ordered[-1]], [position, position], color="black", linewidth=1)
        axes.plot(runs, [position] * len(runs), ".", color="black", markersize=3)
        axes.annotate(f" {middle:.3g}", (ordered[-1], position), va="center", fontsize="small")
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel(label)


Curve = tuple[Sequence[float], Sequence[float]]
"""Seconds, and a value at each."""


def draw_curves(figure: Figure, panels: Mapping[str, Mapping[str, Curve]]) -> None:
    """Draws one panel above the other: by its axis label, curves by name."""
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
    for (axes,), (label, curves) in zip(grid, panels.items()):
        for name, (seconds, values) in curves.items():
            axes.plot(seconds, values, ".-", markersize=3, linewidth=0.7, label=name)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if len(curves) > 1:
            axes.legend(fontsize="small")
    grid[-1][0].set_xlabel("s")
