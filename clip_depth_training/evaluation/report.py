"""The report of ``clip-depth-train evaluate``: measured rows, verdicts and, apart from them, published figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_depth_ros import __version__
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, load_checkpoint
from clip_depth_ros.depth.metrics import NAMES
from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_training.evaluation.baselines import CONSTANT, OF_THIS_DATA, ROW_MEANS, Baseline
from clip_depth_training.evaluation.measurement import Measurement
from clip_depth_training.evaluation.protocols import SCALINGS
from clip_depth_training.evaluation.published import PublishedFigures, published_for

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
_ROW_KEYS = ("data", "images", "depth_range_m", "predictor", "protocol", *NAMES)


@dataclass(frozen=True)
class Weights:
    """What was measured.

    Attributes:
        file: name of the head's file.
        sha256: of that file.
        head_tensors: SHA-256 of its head's tensors, which stays when only the card in the header changes.
        metadata: its card.
        device: where it ran.
        precision: numbers it ran in.
    """

    file: str
    sha256: str
    head_tensors: str
    metadata: CheckpointMetadata
    device: str
    precision: str

    @classmethod
    def of(cls, file: Path, device: str, precision: str) -> Weights:
        """Reads a head's file.

        Raises:
            BadInput: it is no weight file.
        """
        checkpoint = load_checkpoint(file)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        return cls(file.name, sha256, tensors_hash(checkpoint.head), checkpoint.metadata, device, precision)

    def columns(self) -> dict[str, Any]:
        """Returns what every row says about the weights."""
        return {
            "method": self.metadata.method,
            "encoder": self.metadata.encoder.name,
            "encoder_identity": self.metadata.encoder_identity,
            "weights_sha256": self.sha256,
            "source": self.metadata.source,
            "precision": self.precision,
            "code_version": __version__,
        }


class Report:
    """Everything that was measured for one head; ``measured`` is by the data sets' names."""

    def __init__(self, weights: Weights, measured: Mapping[str, Measurement], all_published: bool = False) -> None:
        self.weights = weights
        self.measured = measured
        kinds = {str(entry.description["kind"]) for entry in measured.values()}
        self.published = published_for(kinds, all_published)

    def rows(self) -> list[dict[str, Any]]:
        """Returns the measured rows, each complete in itself."""
        found = []
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
                trivial = predictor != self.weights.metadata.method
                found.append(
                    {
                        **about,
                        "predictor": predictor,
                        "trivial": trivial,
                        "baseline_of": entry.baseline.source if trivial else None,
                        "scaling": scaling,
                        "protocol": f"{scaling}; {entry.protocol.text}",
                        **self.weights.columns(),
                        **figures,
                    }
                )
        return found

    def verdicts(self) -> list[dict[str, Any]]:
        """Returns for every data set and scaling whether the head beats the trivial predictions."""
        method = self.weights.metadata.method
        return [
            {"data": name, "scaling": scaling, **verdict(method, entry.figures, scaling, entry.baseline.own)}
            for name, entry in self.measured.items()
            for scaling, _ in SCALINGS
        ]

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as JSON-ready values; measured and published figures are under different keys."""
        weights = self.weights
        return {
            "format": FORMAT,
            "weights": {
                **weights.columns(),
                "file": weights.file,
                "head_tensors": weights.head_tensors,
                "trained_on": weights.metadata.trained_on,
                "written_by": weights.metadata.code_version,
                "device": weights.device,
            },
            "rows": self.rows(),
            "verdicts": self.verdicts(),
            "published_not_measured_here": [row.row() for row in self.published],
        }

    def markdown(self) -> str:
        """Returns the report for people: what all rows have in common, the table, the verdicts, published figures."""
        lines = [f"# Depth of {self.weights.metadata.method}, measured", "", *self._common(), ""]
        lines += ["| data | images | predictor | protocol | " + " | ".join(LABELS.values()) + " |"]
        lines += ["|---|---|---|---|" + "---|" * len(NAMES)]
        for name, entry in self.measured.items():
            for (predictor, scaling), figures in entry.figures.items():
                told = (_cell(name), str(entry.images), predictor, scaling, *_numbers(figures))
                lines.append(f"| {' | '.join(told)} |")
        lines += ["", "Verdict:", ""]
        lines += [f"- {row['data']}, {row['scaling']}: {row['text']}." for row in self.verdicts()]
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
        weights, card = self.weights, self.weights.metadata
        lines = [
            f"- weights: {weights.file}, SHA-256 {weights.sha256[:_SHORT]}, source {card.source}; "
            f"encoder {card.encoder.name} {card.encoder_identity[:_SHORT]}",
            f"- trained on: {card.trained_on}",
            f"- run by: clip_depth_ros {__version__}, {weights.precision}, {weights.device}",
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


def read_report(file: Path) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """Reads a report for a weight file's card.

    Returns:
        What it says about the weights it was measured with, and its rows with the keys that the card has.

    Raises:
        BadInput: the file is no such report.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        weights = {name: str(report["weights"][name]) for name in ("head_tensors", "encoder_identity", "file")}
        rows = tuple({key: row[key] for key in _ROW_KEYS} for row in report["rows"])
        if not rows or not all(isinstance(row[name], float) for row in rows for name in NAMES):
            raise ValueError("no rows, or rows without figures")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{file} is not a report of `clip-depth-train evaluate` ({type(error).__name__}).") from error
    return weights, rows


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 (hex) of tensors: names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
