"""What a run of the demo found, as a table to read and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clip_depth_ros.replay.accuracy import DepthAccuracy
from clip_depth_ros.replay.measure import StreamMeasurement


@dataclass(frozen=True)
class Summary:
    """Everything the demo reports.

    Attributes:
        bag: name of the recording.
        image_size: columns and rows of its images.
        setting: what ran, by name: device, encoder, heads, rates, versions.
        stream: what was measured of images and depth.
        counts: messages received, by result topic.
        start_up_s: from the start of the node's process until it answered on every topic (seconds).
        accuracy: None where the recording has no ground truth.
        truth_topic: where the ground truth came from.
    """

    bag: str
    image_size: tuple[int, int]
    setting: Mapping[str, str]
    stream: StreamMeasurement
    counts: Mapping[str, int]
    start_up_s: float
    accuracy: DepthAccuracy | None
    truth_topic: str = ""
    warnings: tuple[str, ...] = field(default=())

    def as_json(self) -> str:
        """Returns it as JSON; numbers that do not exist are null."""
        return json.dumps(_plain(asdict(self)), indent=2) + "\n"

    def as_markdown(self) -> str:
        """Returns it as two Markdown tables that read well in a terminal too."""
        lines = [f"# {self.bag}: {self.image_size[0]}x{self.image_size[1]} images to metric depth over DDS", ""]
        lines += _table(("", "measured"), self._stream_rows())
        if self.accuracy is None:
            lines += ["", "No accuracy: the recording holds no ground-truth depth with the stamps of its images."]
        else:
            lines += ["", *self._accuracy_lines(self.accuracy)]
        lines += ["", *(f"- {name}: {value}" for name, value in self.setting.items())]
        lines += [f"- note: {warning}" for warning in self.warnings]
        return "\n".join(lines) + "\n"

    def _stream_rows(self) -> list[tuple[str, str]]:
        stream = self.stream
        share = stream.dropped / max(stream.sent, 1)
        rows = [
            ("images sent", f"{stream.sent} at {_hertz(stream.sent_hz)}"),
            ("depth images received", f"{stream.received} at {_hertz(stream.received_hz)}"),
            ("images dropped", f"{stream.dropped} ({share:.1%})"),
            (
                "image out to depth in, p50 / p90 / p99",
                " / ".join(f"{1e3 * value:.0f}" for value in self._latencies()) + " ms",
            ),
            ("node ready to answer after", f"{self.start_up_s:.1f} s"),
        ]
        rows[3:3] = [
            (f"{topic} received", str(count)) for topic, count in self.counts.items() if not topic.endswith("/image")
        ]
        if stream.unexpected:
            rows.append(("depth without an image of its stamp", str(stream.unexpected)))
        return rows

    def _latencies(self) -> tuple[float, float, float]:
        return self.stream.latency_p50_s, self.stream.latency_p90_s, self.stream.latency_p99_s

    def _accuracy_lines(self, accuracy: DepthAccuracy) -> list[str]:
        rows = [
            ("as published, metric", accuracy.metric),
            ("median-scaled", accuracy.scaled),
            (f"a constant {accuracy.constant_m:.2f} m, metric", accuracy.constant),
            ("a constant, median-scaled", accuracy.constant_scaled),
        ]
        cells = [(name, *(f"{values[metric]:.3f}" for metric in ("abs_rel", "rmse", "a1"))) for name, values in rows]
        near, far = accuracy.limits
        return [
            f"Against the recording's own ground truth ({self.truth_topic}): {accuracy.images} images, "
            f"{near:g} to {far:g} m, no crop, mean of per-image values; "
            f"{accuracy.coverage:.1%} of those pixels have a prediction.",
            "The constant is the median of this very ground truth: what knowing the rooms but not looking gives.",
            "",
            *_table(("", "AbsRel", "RMSE (m)", "d1"), cells),
        ]


def _table(head: tuple[str, ...], rows: list[Any]) -> list[str]:
    """Returns a Markdown table with its columns aligned."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in [head, *rows]]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def _hertz(rate: float) -> str:
    return f"{rate:.1f} Hz" if math.isfinite(rate) else "one message, no rate"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
