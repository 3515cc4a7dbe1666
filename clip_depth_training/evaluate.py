"""``clip-depth-train evaluate``: the error of weights, run as the node runs them, beside the trivial predictions."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_depth_ros.depth.checkpoint import read_metadata
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.metrics import NAMES, average, depth_metrics, valid_pixels
from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_training.data_sets.rgbd import read_pairs
from clip_depth_training.data_sets.rooms import RoomSet

PROTOCOLS = (("metric", False), ("median-scaled", True))
_BATCH = 32


@dataclass(frozen=True)
class Sample:
    """Pictures of one size with ground truth: images (B, H, W, 3) uint8, depth (B, H, W) metres, K (B, 3, 3)."""

    images: Tensor
    depth: Tensor
    intrinsics: np.ndarray


def room_samples(folder: Path) -> Iterator[Sample]:
    """Yields the views of rendered rooms."""
    rooms = RoomSet(folder)
    height, width = rooms.images.shape[1:3]
    for start in range(0, len(rooms), _BATCH):
        batch = rooms.__getitems__(list(range(start, min(start + _BATCH, len(rooms)))))
        matrices = np.zeros((len(batch), 3, 3))
        # Only the geometric mean of the focal lengths matters to the estimator.
        matrices[:, 0, 0] = matrices[:, 1, 1] = batch.focal
        matrices[:, :, 2] = (width / 2, height / 2, 1)
        yield Sample(batch.images, batch.depth, matrices)


def folder_samples(folder: Path) -> Iterator[Sample]:
    """Yields the pairs of an RGB-D folder."""
    for pair in read_pairs(folder):
        yield Sample(torch.from_numpy(pair.image)[None], torch.from_numpy(pair.depth)[None], pair.intrinsics[None])


def evaluate(
    estimator: DepthEstimator, head: str, samples: Iterator[Sample], row_means: Tensor, depth_range: tuple[float, float]
) -> dict[str, Any]:
    """Measures a head and the trivial predictions on ``samples``.

    Args:
        estimator: the network, as the node runs it.
        head: name of the head.
        samples: pictures with ground truth.
        row_means: mean depth of each picture row of the training set (metres), the trivial prediction; its mean is
            the constant.
        depth_range: pixels that count, nearest and farthest (metres, exclusive).

    Returns:
        ``images`` and, by predictor and protocol, the nine metrics averaged over the images.

    Raises:
        BadInput: no picture has ground truth in the range.
    """
    gathered: dict[tuple[str, str], list[dict[str, Tensor]]] = {}
    for sample in samples:
        size = (sample.depth.shape[1], sample.depth.shape[2])
        predictions = {
            head: estimator(sample.images, sample.intrinsics, tokens=False)[head].depth.float().cpu(),
            "constant": row_means.mean().expand(sample.depth.shape),
            "row means": F.interpolate(row_means[None, None], size[0], mode="linear")[0, 0, :, None].expand(
                sample.depth.shape
            ),
        }
        mask = valid_pixels(sample.depth, depth_range)
        for name, prediction in predictions.items():
            for protocol, median in PROTOCOLS:
                values = depth_metrics(prediction, sample.depth, mask, depth_range, median)
                gathered.setdefault((name, protocol), []).append(values)
    images = sum(len(part["abs_rel"]) for part in gathered.get((head, "metric"), []))
    if not images:
        raise BadInput(
            f"No picture has ground truth between {depth_range[0]} and {depth_range[1]} m: check the data set."
        )
    rows = [{"predictor": name, "protocol": protocol, **average(parts)} for (name, protocol), parts in gathered.items()]
    return {"images": images, "rows": rows}


def markdown(report: dict[str, Any]) -> str:
    """Returns the report as a Markdown table; each row names its data and protocol."""
    low, high = report["depth_range_m"]
    lines = [
        f"Depth range {low} to {high} m; {report['protocol']}; encoder {report['weights'][:12]}.",
        "",
        "| data | images | predictor | protocol | " + " | ".join(NAMES) + " |",
        "|---|---|---|---|" + "---|" * len(NAMES),
    ]
    for data in report["data"]:
        for row in data["rows"]:
            cells = " | ".join(f"{row[name]:.3f}" for name in NAMES)
            lines.append(f"| {data['name']} | {data['images']} | {row['predictor']} | {row['protocol']} | {cells} |")
    return "\n".join(lines) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``evaluate``."""
    parser.add_argument("weights", nargs="+", help="weight files: head and encoder, together or apart")
    parser.add_argument("--head", default="space_clip", help="head to measure (default space_clip)")
    parser.add_argument("--rooms", type=Path, action="append", default=[], help="folder of rendered rooms")
    parser.add_argument(
        "--rgbd", type=Path, action="append", default=[], help="RGB-D folder (rgb, depth, intrinsics.json)"
    )
    parser.add_argument(
        "--baseline", type=Path, required=True, help="folder of the training rooms, for the trivial predictions"
    )
    parser.add_argument(
        "--range", type=float, nargs=2, default=(0.1, 10.0), metavar=("MIN", "MAX"), help="metres (default 0.1 10)"
    )
    parser.add_argument("-o", "--output", type=Path, help="also write the table to this .json (and .md beside it)")


def run(arguments: argparse.Namespace) -> int:
    """Runs ``evaluate``."""
    if not arguments.rooms and not arguments.rgbd:
        raise BadInput("There is nothing to measure on: give --rooms or --rgbd.")
    settings = EstimatorConfig(
        heads=(arguments.head,), weights=tuple(arguments.weights), device="auto", precision="fp32"
    )
    estimator = DepthEstimator.from_settings(settings)
    depth_range = (arguments.range[0], arguments.range[1])
    row_means = RoomSet(arguments.baseline).row_means(depth_range)
    sources = [(folder, room_samples(folder)) for folder in arguments.rooms]
    sources += [(folder, folder_samples(folder)) for folder in arguments.rgbd]
    report = {
        "weights": next(m.encoder_identity for m in map(read_metadata, map(Path, arguments.weights))),
        "depth_range_m": depth_range,
        "protocol": "metrics averaged per image, no crop, no flip averaging",
        "data": [
            {"name": folder.name, **evaluate(estimator, arguments.head, samples, row_means, depth_range)}
            for folder, samples in sources
        ],
    }
    print(markdown(report))
    if arguments.output:
        for path, text in (
            (arguments.output, json.dumps(report, indent=1)),
            (arguments.output.with_suffix(".md"), markdown(report)),
        ):
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return 0
