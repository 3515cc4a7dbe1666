"""Several replay reports side by side: one table and one page, and whether they can be compared at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_ros.replay.page.markdown import aligned, safe
from clip_depth_ros.replay.page.plain import as_json
from clip_depth_ros.replay.page.text import at, entries, figure, number, run_key, short, span
from clip_depth_ros.replay.page.verdict import best_live_run

REPORT = "report.json"
_FORMAT = 1
_METRICS = ("abs_rel", "rmse", "a1")
LABELS = ("AbsRel", "RMSE (m)", "δ1")


@dataclass(frozen=True)
class Report:
    """A report and the file it came from.

    Attributes:
        path: the file.
        name: short, and no other report's.
        content: as ``report.json`` holds it.
    """

    path: Path
    name: str
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One run of one report; what was not measured is None.

    Attributes:
        report: name of the report.
        run: head and condition.
        images: compared with ground truth.
        metric, median_scaled: AbsRel, RMSE (metres) and d1.
        constant_abs_rel: of the constant baseline, metric.
        frames_per_s: offline.
        latency_p50_ms, latency_p99_ms, latency_at_hz: live, at the highest rate without a drop, or the first one.
        highest_rate_hz: live, offered without a drop.
    """

    report: str
    run: str
    images: float | None
    metric: tuple[float | None, ...]
    median_scaled: tuple[float | None, ...]
    constant_abs_rel: float | None
    frames_per_s: float | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    latency_at_hz: float | None
    highest_rate_hz: float | None

    @property
    def label(self) -> str:
        """Names the row."""
        return f"{self.report}: {self.run}"


@dataclass(frozen=True)
class Comparison:
    """Every run of every report, and what stands against comparing them."""

    rows: list[Row]
    remarks: list[str]

    def as_markdown(self) -> str:
        """Returns the table and the remarks."""
        head = ["", "images", *(f"{label} metric / scaled" for label in LABELS), "constant AbsRel"]
        head += ["images/s", "latency p50 / p99 (ms)", "at Hz", "highest Hz"]
        table = aligned(head, [_cells(row) for row in self.rows])
        return "\n".join(["# Replay reports compared", "", *self._remarks(), *table, "", safe(CAPTION)]) + "\n"

    def _remarks(self) -> list[str]:
        return [*(f"- **{safe(remark)}**" for remark in self.remarks), ""] if self.remarks else []


CAPTION = (
    "Metric: depth as it is. Scaled: every image multiplied by median(truth) / median(prediction) first. Mean of each "
    "image's own value, no crop. Constant: one depth everywhere, the median of the recording's truth. Latency is at "
    "the highest offered rate without a drop, or at the first one tested where none was."
)


def read_reports(paths: Sequence[Path]) -> list[Report]:
    """Reads reports.

    Args:
        paths: files as ``clip-depth replay`` writes them, or the folders they are in.

    Raises:
        BadInput: a file is missing, is not JSON, is no replay report, or has a format this version does not know.
    """
    files = [path / REPORT if path.is_dir() else path for path in paths]
    contents = [_read(file) for file in files]
    return [Report(file, name, content) for file, name, content in zip(files, _names(files), contents)]


def compare(reports: Sequence[Report]) -> Comparison:
    """Returns every run of every report, in their order."""
    found = [row for report in reports for row in _rows(report)]
    return Comparison(found, _remarks(reports))


def write_comparison(folder: Path, comparison: Comparison, reports: Sequence[Report]) -> list[Path]:
    """Writes ``compare.html``, ``compare.md`` and ``compare.json`` and returns them.

    Raises:
        BadInput: a file cannot be written.
    """
    from clip_depth_ros.replay.page.comparison import comparison_page

    content = {
        "format": _FORMAT,
        "reports": [str(report.path) for report in reports],
        "remarks": comparison.remarks,
        "rows": [_json_row(row) for row in comparison.rows],
    }
    texts = {
        "compare.html": comparison_page(comparison),
        "compare.md": comparison.as_markdown(),
        "compare.json": as_json(content),
    }
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _json_row(row: Row) -> dict[str, Any]:
    values = asdict(row)
    for scaling in ("metric", "median_scaled"):
        values[scaling] = dict(zip(_METRICS, values[scaling]))
    return values


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{file} does not exist: give the report.json of a replay, or its folder.") from error
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror}): give the report.json of a replay.") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file} is not JSON: give the report.json of a replay.") from error
    is_report = isinstance(at(content, "bag"), Mapping) and isinstance(at(content, "runs"), list)
    if not is_report or not all(isinstance(run, Mapping) for run in content["runs"]):
        raise BadInput(f"{file} is no replay report: give a report.json that clip-depth replay wrote.")
    if content.get("format") != _FORMAT:
        raise BadInput(
            f"{file} has format {content.get('format')}, but this version reads {_FORMAT}: replay the bag again."
        )
    return content


def _names(files: Sequence[Path]) -> list[str]:
    """Returns the folder of each ``report.json``, the stem of every other file; longer where two are the same."""
    resolved = [file.resolve() for file in files]
    parts = [[*one.parent.parts, *([] if one.name == REPORT else [one.stem])] for one in resolved]
    for length in range(1, max((len(one) for one in parts), default=1) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(set(resolved)):
            break
    return names


def _rows(report: Report) -> list[Row]:
    live = at(report.content, "live")
    answered = best_live_run(live)
    return [
        Row(
            report=report.name,
            run=run_key(run),
            images=figure(at(run, "accuracy", "images")),
            metric=tuple(figure(at(run, "accuracy", "metric", key)) for key in _METRICS),
            median_scaled=tuple(figure(at(run, "accuracy", "median_scaled", key)) for key in _METRICS),
            constant_abs_rel=figure(at(run, "accuracy", "constant", "metric", "abs_rel")),
            frames_per_s=figure(at(run, "speed", "frames_per_s")),
            latency_p50_ms=figure(at(answered, "latency_ms", "p50")),
            latency_p99_ms=figure(at(answered, "latency_ms", "p99")),
            latency_at_hz=figure(at(answered, "offered_hz")),
            highest_rate_hz=figure(at(live, "highest_rate_hz")),
        )
        for run in entries(at(report.content, "runs"))
    ]


def _remarks(reports: Sequence[Report]) -> list[str]:
    """Returns what makes the figures of different runs figures of different things."""
    runs = [(report, run) for report in reports for run in entries(at(report.content, "runs"))]
    compared = [(report, run) for report, run in runs if isinstance(at(run, "accuracy"), Mapping)]
    found = [
        _differing("recordings", [(report, _recording(report.content)) for report in reports]),
        _differing("ground truths", [(report, _truth(report.content)) for report, _ in compared]),
        _differing("ranges of the truth", [(report, _range(run)) for report, run in compared]),
        _differing("crops", [(report, str(at(run, "accuracy", "crop"))) for report, run in compared]),
        _differing(
            "numbers of matched images", [(report, short(at(run, "accuracy", "images"), 9)) for report, run in compared]
        ),
    ]
    stopped = [report.name for report in reports if at(report.content, "complete") is False]
    if stopped:
        found.append(f"Stopped before the end of the recording: {', '.join(stopped)}.")
    missing = [f"{report.name}: {run_key(run)}" for report, run in runs if (report, run) not in compared]
    if missing and compared:
        found.append(f"Without ground truth: {', '.join(missing)}.")
    return [remark for remark in found if remark]


def _differing(what: str, values: Sequence[tuple[Report, str]]) -> str:
    by_value: dict[str, list[str]] = {}
    for report, value in values:
        names = by_value.setdefault(value, [])
        if report.name not in names:
            names.append(report.name)
    if len(by_value) < 2:
        return ""
    listed = "; ".join(f"{value} ({', '.join(names)})" for value, names in by_value.items())
    return f"Not comparable: the {what} differ: {listed}."


def _recording(content: Mapping[str, Any]) -> str:
    bag = at(content, "bag")
    size = "x".join(short(one, 6) for one in entries(at(bag, "image_size")))
    return f"{at(bag, 'name')}, {short(at(bag, 'images'), 9)} images {size} on {at(bag, 'image_topic')}"


def _truth(content: Mapping[str, Any]) -> str:
    return f"{at(content, 'bag', 'truth_kind') or 'no kind'} on {at(content, 'bag', 'truth_topic') or 'no topic'}"


def _range(run: Any) -> str:
    limits = entries(at(run, "accuracy", "range_m"))
    return span(limits[0], limits[1], "m") if len(limits) == 2 else "none"


def _cells(row: Row) -> list[str]:
    return [
        row.label,
        short(row.images, 9),
        *(f"{number(value)} / {number(scaled)}" for value, scaled in zip(row.metric, row.median_scaled)),
        number(row.constant_abs_rel),
        short(row.frames_per_s),
        f"{short(row.latency_p50_ms)} / {short(row.latency_p99_ms)}",
        short(row.latency_at_hz),
        short(row.highest_rate_hz),
    ]
