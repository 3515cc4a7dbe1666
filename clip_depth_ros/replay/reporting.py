"""A replay as a report: plain values, as ``report.json`` holds them."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from clip_depth_ros.depth.checkpoint import load_checkpoint
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.hardware import hardware, versions
from clip_depth_ros.replay.frames import FrameSource
from clip_depth_ros.replay.ground_truth.plan import Plan
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.scoring import Scoring
from clip_depth_ros.resources import resolve

FORMAT = 1


def make_report(
    kind: str,
    source: FrameSource,
    scoring: Scoring,
    config: EstimatorConfig,
    limits: tuple[float, float],
    settings: Mapping[str, str],
    stopped: str = "",
) -> dict[str, Any]:
    """Returns the report of what was scored so far, without speeds.

    Args:
        kind: ``offline`` or ``live``.
        source: where the pictures came from.
        scoring: what was found.
        config: the encoder and heads that ran.
        limits: nearest and farthest ground truth that counted (metres).
        settings: how they ran, by name.
        stopped: why the replay ended before the recording did; empty when it did not.
    """
    plan = source.plan
    bag = _bag(source.reader, plan)
    if not plan.topics.truth:
        bag["warnings"] += _notes(source)
    return {
        "format": FORMAT,
        "kind": kind,
        "title": source.reader.path.name,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "complete": not stopped,
        "stopped": stopped,
        "bag": bag,
        "matching": _matching(source, scoring) if plan.topics.truth else None,
        "settings": {
            "heads": ", ".join(config.heads),
            "weights": ", ".join(config.weights),
            **settings,
            "range of ground truth": f"{limits[0]:g} to {limits[1]:g} m",
            "crop": "none",
            "command": shlex.join(["clip-depth", *sys.argv[1:]]),
            **hardware(),
            **versions(),
        },
        "provenance": _provenance(config),
        "runs": [
            {
                "head": head,
                "condition": condition,
                "frames": scoring.columns((head, condition)),
                "speed": None,
                "accuracy": scores.accuracy(),
            }
            for (head, condition), scores in scoring.scores.items()
        ],
        "live": None,
    }


def print_report(folder: Path, files: Sequence[str]) -> None:
    """Prints the figures of ``report.md`` in ``folder``, without settings and provenance, and the ``files`` there."""
    text = (folder / "report.md").read_text(encoding="utf-8")
    print(text.partition("\n## Settings")[0])
    print(f"\nIn {folder}: {', '.join(files)}")


def _bag(reader: BagReader, plan: Plan) -> dict[str, Any]:
    topics = plan.topics
    return {
        "name": reader.path.name,
        "duration_s": reader.duration_s,
        "images": reader.topics[topics.image].count,
        "image_topic": topics.image,
        "image_size": list(plan.size),
        "camera_info_topic": plan.cameras.source if plan.cameras is not None else "",
        "truth_topic": topics.truth,
        "truth_kind": "" if not topics.truth else "LiDAR" if topics.lidar else "depth image",
        "warnings": list(reader.warnings),
    }


def _provenance(config: EstimatorConfig) -> dict[str, str]:
    """Returns what the weight files that are used say of themselves."""
    told: dict[str, str] = {}
    for location in filter(None, config.weights):
        path = resolve(location)
        metadata = load_checkpoint(path).metadata
        if metadata.method in (*config.heads, "encoder"):
            told[metadata.method] = (
                f"{path.name}; trained on: {metadata.trained_on}; cameras: {metadata.training_intrinsics}; "
                f"licence: {metadata.licence}; from: {metadata.source}; encoder {metadata.encoder_identity[:12]}; "
                f"written by clip_depth_ros {metadata.code_version}"
            )
    return told


def _notes(source: FrameSource) -> list[str]:
    """Returns what was chosen and left out, in sentences."""
    return [
        *source.plan.notes,
        *_counted(source.skipped, "pictures were left out"),
        *_counted(source.without_truth, "pictures have no ground truth"),
    ]


def _counted(reasons: Mapping[int, str], what: str) -> list[str]:
    return [f"{count} {what}: {reason.rstrip('.')}." for reason, count in Counter(reasons.values()).most_common()]


def _matching(source: FrameSource, scoring: Scoring) -> dict[str, Any]:
    first = next(iter(scoring.scores.values()))
    return {
        "images": scoring.pictures,
        "truths": source.plan.measured,
        "matched": sum(value is not None for value in first.frames()["scale"]),
        "tolerance_s": source.plan.tolerance_s,
        "notes": _notes(source),
    }
