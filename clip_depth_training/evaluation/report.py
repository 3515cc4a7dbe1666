"""The report of ``clip-depth-train evaluate``: measured rows, verdicts and, apart from them, published figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clip_depth_ros import __version__
from clip_depth_ros.depth.metrics import NAMES
from clip_depth_ros.files import replacing
from clip_depth_training.evaluation.baselines import CONSTANT, OF_THIS_DATA, ROW_MEANS, Baseline
from clip_depth_training.evaluation.measurement import Measurement
from clip_depth_training.evaluation.protocols import SCALINGS
from clip_depth_training.evaluation.published import PublishedFigures, published_for
from clip_depth_training.evaluation.weights import Weights

FORMAT = 1
LABELS = {
    "abs_rel": "AbsRel",
    "sq_rel": "SqRel (m)",
    "rmse": "RMSE (m)",
    "rmse_log": "RMSElog",
    "log_10": "log10",
    "silog": "SILog (x100)",
    "a1": "d < 1.25",
    "a2": "d < 1.25^2",
    "a3": "d < 1.25^3",
}
_SHORT = 12  # characters of a hash in tables
_JUDGED = (("abs_rel", "AbsRel", -1), ("a1", "d < 1.25", 1))  # smaller is better, larger is better
_OF_ONE_HEAD = ("method", "weights_sha256", "source")  # columns of trivial rows that several heads do not share


class Report:
    """Everything that was measured: the heads in order, which share one encoder, and what was found by data set.

    Attributes:
        heads: the heads.
        measured: by the data sets' names.
        published: papers' figures on such data sets.
    """

    def __init__(
        self, heads: Sequence[Weights], measured: Mapping[str, Measurement], all_published: bool = False
    ) -> None:
        self.heads = {head.metadata.method: head for head in heads}
        self.measured = measured
        kinds = {str(entry.description["kind"]) for entry in measured.values()}
        self.published = published_for(kinds, all_published)

    @property
    def _main(self) -> Weights:
        """The first head: encoder and machine are the same for all."""
        return next(iter(self.heads.values()))

    @property
    def _one(self) -> bool:
        return len(self.heads) == 1

    def rows(self) -> list[dict[str, Any]]:
        """Returns the measured rows, each complete in itself.

        Trivial rows look at no weights: with several heads they name none, with one they repeat its.
        """
        found = []
        trivial_columns = self._main.columns() | ({} if self._one else dict.fromkeys(_OF_ONE_HEAD))
        for name, entry in self.measured.items():
            about = {
                "data": name,
                "kind": entry.description["kind"],
                "split": entry.description["split"],
                "images": entry.images,
                "images_without_ground_truth": entry.without_ground_truth,
                "images_without_intrinsics": entry.unknown_cameras,
                "remarks": list(entry.remarks),
                "depth_range_m": list(entry.protocol.depth_range),
                "crop": entry.protocol.crop,
                "flip_averaging": entry.protocol.flip,
                "size": None if entry.protocol.size is None else list(entry.protocol.size),
            }
            for (predictor, scaling), figures in entry.figures.items():
                head = self.heads.get(predictor)
                found.append(
                    {
                        **about,
                        "predictor": predictor,
                        "trivial": head is None,
                        "baseline_of": entry.baseline.source if head is None else None,
                        "scaling": scaling,
                        "protocol": f"{scaling}; {entry.protocol.text}",
                        **(trivial_columns if head is None else head.columns()),
                        **figures,
                    }
                )
        return found

    def verdicts(self) -> list[dict[str, Any]]:
        """Returns for every data set, scaling and head whether it beats the trivial predictions."""
        return [
            {
                "data": name,
                "scaling": scaling,
                "predictor": head,
                **verdict(head, entry.figures, scaling, entry.baseline.own),
            }
            for name, entry in self.measured.items()
            for scaling, _ in SCALINGS
            for head in self.heads
        ]

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as JSON-ready values; measured and published figures are under different keys.

        ``heads`` says what was measured. ``weights`` says the same of one head, for readers that know of one alone;
        with several it is not there, so that such a reader takes no head's rows for another's.
        """
        heads = [head.as_dict() for head in self.heads.values()]
        return {
            "format": FORMAT,
            **({"weights": heads[0]} if self._one else {}),
            "heads": heads,
            "rows": self.rows(),
            "verdicts": self.verdicts(),
            "published_not_measured_here": [row.row() for row in self.published],
        }

    def markdown(self) -> str:
        """Returns the report for people: what all rows have in common, the table, the verdicts, published figures."""
        lines = [f"# Depth of {', '.join(self.heads)}, measured", "", *self._common(), ""]
        lines += ["| data | images | predictor | protocol | " + " | ".join(LABELS.values()) + " |"]
        lines += ["|---|---|---|---|" + "---|" * len(NAMES)]
        for name, entry in self.measured.items():
            for (predictor, scaling), figures in entry.figures.items():
                told = (_cell(name), str(entry.images), predictor, scaling, *_numbers(figures))
                lines.append(f"| {' | '.join(told)} |")
        lines += ["", "Verdict:", ""]
        for row in self.verdicts():
            told = (row["data"], row["scaling"], *(() if self._one else (row["predictor"],)))
            lines.append(f"- {', '.join(told)}: {row['text']}.")
        if self.published:
            lines += ["", *_published_table(self.published)]
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Writes ``path`` (.json) and the Markdown beside it (.md).

        Raises:
            BadInput: they cannot be written.
        """
        for file, text in (
            (path, json.dumps(self.as_dict(), indent=1)),
            (path.with_suffix(".md"), self.markdown()),
        ):
            with replacing(file) as temporary:
                temporary.write_text(text, encoding="utf-8")

    def _common(self) -> list[str]:
        lines = [line for head in self.heads.values() for line in _weights_lines(head, alone=self._one)]
        lines += [
            f"- run by: clip_depth_ros {__version__}, {self._main.precision}, {self._main.device}",
            "- metric: depth as it is, with the camera's focal length; median-scaled: every image's depth, the trivial "
            "ones too, times median(truth) / median(prediction)",
        ]
        settings: dict[str, list[str]] = {}
        trivial: dict[str, list[str]] = {}
        for name, entry in self.measured.items():
            near, far = entry.protocol.depth_range
            settings.setdefault(f"{entry.protocol.text}, {near:g} to {far:g} m", []).append(name)
            trivial.setdefault(_trivial_text(entry.baseline), []).append(name)
        lines += [f"- protocol{_of(names, settings)}: {text}" for text, names in settings.items()]
        lines += [f"- trivial predictions{_of(names, trivial)}: {text}" for text, names in trivial.items()]
        for name, entry in self.measured.items():
            lines += [f"- {name}: {text}" for text in _remarks(entry)]
        return lines


def verdict(
    method: str, figures: Mapping[tuple[str, str], Mapping[str, float]], scaling: str, own: bool
) -> dict[str, Any]:
    """Says whether a head beats the trivial predictions, in AbsRel and in d < 1.25, and in which figure it does not.

    Returns:
        ``beats_constant``, ``beats_row_means`` (both figures are strictly better) and ``text``.
    """
    mine = figures[method, scaling]
    beaten, lost, won = {}, [], []
    for trivial, called in ((CONSTANT, "a constant"), (ROW_MEANS, "the row means")):
        other = figures[trivial + (OF_THIS_DATA if own else ""), scaling]
        worse = [
            f"{label} {mine[name]:.3f} against {other[name]:.3f}"
            for name, label, sign in _JUDGED
            if not (mine[name] - other[name]) * sign > 0
        ]
        beaten[trivial] = not worse
        if worse:
            lost.append(f"NOT better than {called} ({', '.join(worse)})")
        else:
            won.append(called)
    if not lost:
        text = "beats both trivial predictions"
    else:
        text = ", ".join([*lost, *(f"better than {called}" for called in won)])
    return {"beats_constant": beaten[CONSTANT], "beats_row_means": beaten[ROW_MEANS], "text": text}


def _weights_lines(weights: Weights, alone: bool) -> list[str]:
    card = weights.metadata
    if weights.file is None or weights.sha256 is None:
        file = f"no file, SHA-256 of the tensors {weights.head_tensors[:_SHORT]}"
    else:
        file = f"{weights.file}, SHA-256 {weights.sha256[:_SHORT]}"
    text = f"{file}, source {card.source}; encoder {card.encoder.name} {card.encoder_identity[:_SHORT]}"
    if alone:
        return [f"- weights: {text}", f"- trained on: {card.trained_on}"]
    near, far = weights.valid_range
    return [
        f"- weights of {card.method}: {text}; for {near:g} to {far:g} m",
        f"- {card.method} was trained on: {card.trained_on}",
    ]


def _published_table(rows: Iterable[PublishedFigures]) -> list[str]:
    lines = [
        "## Published, not measured here",
        "",
        "As the papers print them. A figure compares with one above only where data and protocol agree; the protocol "
        "is what the source states.",
        "",
        "| data | method | encoder | source | protocol | " + " | ".join(LABELS.values()) + " |",
        "|---|---|---|---|---|" + "---|" * len(NAMES),
    ]
    for row in rows:
        told = [asdict(row)[name] for name in ("data", "method", "encoder", "source", "protocol")]
        lines.append(f"| {' | '.join([*told, *_numbers(row.figures, '.4g')])} |")
    return lines


def _numbers(figures: Mapping[str, float], form: str = ".3f") -> list[str]:
    return [format(figures[name], form) if name in figures else "-" for name in NAMES]


def _trivial_text(baseline: Baseline) -> str:
    where = "this very data, which is the harder test" if baseline.own else baseline.source
    return f"constant = {baseline.constant:.3f} m, mean depth of {where}; row means = mean depth of its picture rows"


def _remarks(entry: Measurement) -> list[str]:
    """Returns what a reader must know about the pictures."""
    found = []
    if entry.without_ground_truth:
        found.append(f"{entry.without_ground_truth} more pictures have no ground truth that counts: in no average")
    if entry.unknown_cameras:
        found.append(f"{entry.unknown_cameras} pictures have no intrinsics: their metric scale is not the camera's own")
    return [*found, *entry.remarks]


def _of(names: list[str], groups: Mapping[str, list[str]]) -> str:
    return f" of {', '.join(names)}" if len(groups) > 1 else ""


def _cell(text: str) -> str:
    return text.replace("|", "/")
