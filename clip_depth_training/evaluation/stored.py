"""A report of ``clip-depth-train evaluate`` that was written before, read for the card of a weight file."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_depth_ros.depth.heads import HEADS
from clip_depth_ros.depth.metrics import NAMES
from clip_depth_ros.errors import BadInput

_HEAD_KEYS = ("method", "head_tensors", "encoder_identity", "file")
_ROW_KEYS = ("data", "images", "depth_range_m", "predictor", "protocol", *NAMES)


@dataclass(frozen=True)
class StoredReport:
    """A report.

    Attributes:
        path: where it was read from.
        heads: what it says about each head: ``method``, ``head_tensors``, ``encoder_identity`` and ``file``.
        rows: its rows, with the keys that a card has.
    """

    path: Path
    heads: tuple[dict[str, str], ...]
    rows: tuple[dict[str, Any], ...]

    def heads_of(self, method: str) -> tuple[dict[str, str], ...]:
        """Returns the heads that tell of a trained method: its own, or all where it trains an encoder and no head.

        Raises:
            BadInput: the report has no such head.
        """
        if method not in HEADS:
            return self.heads
        own = tuple(head for head in self.heads if head["method"] == method)
        if not own:
            raise BadInput(
                f"{self.path} has no rows of {method}, only of {', '.join(head['method'] for head in self.heads)}: "
                "give a report that `clip-depth-train evaluate` made with these weights."
            )
        return own

    def rows_of(self, method: str) -> tuple[dict[str, Any], ...]:
        """Returns the rows of :meth:`heads_of` and of the trivial predictions.

        Raises:
            BadInput: the report has no such head.
        """
        own = self.heads_of(method)
        others = {head["method"] for head in self.heads if head not in own}
        return tuple(row for row in self.rows if row["predictor"] not in others)


def read_report(path: Path) -> StoredReport:
    """Reads a report, also of a version that measured one head alone.

    Raises:
        BadInput: the file is no such report.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        listed = report["heads"] if "heads" in report else [report["weights"]]
        heads = tuple({key: str(head[key] or "") for key in _HEAD_KEYS} for head in listed)
        rows = tuple({key: row[key] for key in _ROW_KEYS} for row in report["rows"])
        if not heads or not _has_figures(rows):
            raise ValueError("no heads, no rows, or rows without figures")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is not a report of `clip-depth-train evaluate` ({type(error).__name__}).") from error
    return StoredReport(path, heads, rows)


def _has_figures(rows: Collection[dict[str, Any]]) -> bool:
    return bool(rows) and all(isinstance(row[name], float) for row in rows for name in NAMES)
