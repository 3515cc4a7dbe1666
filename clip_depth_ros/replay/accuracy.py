"""How good depth is against a bag's own ground truth: the nine usual metrics, metric and median-scaled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clip_depth_ros.depth.metrics import average, depth_metrics, valid_pixels
from clip_depth_ros.replay.depth_image import depth_metres
from clip_depth_ros.replay.messages import BagMessage, header_stamp_ns
from clip_depth_ros.replay.reader import BagReader

_MEDIAN_SAMPLES = 2000  # pixels of each image that the constant baseline's median is taken over


@dataclass(frozen=True)
class DepthAccuracy:
    """Metrics of a recording: the mean over its images of each image's own.

    Attributes:
        images: images compared.
        limits: nearest and farthest ground truth that counts (metres); no crop.
        coverage: part of those pixels that have a prediction, 0..1; the others count in no metric.
        metric: depth as it is published, by metric name.
        scaled: the same after each image was multiplied by median(truth) / median(prediction): shape without scale.
        constant_m: the baseline (metres): one depth for every pixel, the median of this recording's ground truth.
        constant, constant_scaled: metrics of that baseline, as it is and scaled image by image.
    """

    images: int
    limits: tuple[float, float]
    coverage: float
    metric: dict[str, float]
    scaled: dict[str, float]
    constant_m: float
    constant: dict[str, float]
    constant_scaled: dict[str, float]


def compare(
    results: BagReader, depth_topic: str, recording: BagReader, truth_topic: str, limits: tuple[float, float]
) -> DepthAccuracy | None:
    """Compares predicted depth with ground truth, image by image, matched by exact header stamp.

    Args:
        results: bag of predictions.
        depth_topic: its depth images.
        recording: bag of ground truth, of the same size as the predictions.
        truth_topic: its depth images.
        limits: nearest and farthest ground truth that counts (metres).

    Returns:
        None when no prediction has a ground truth of its stamp and size with a pixel to compare.
    """
    constant = _median_truth(recording, truth_topic, limits)
    rows: list[list[dict[str, Tensor]]] = []
    covered = counted = 0
    for result, reference in matched(results.messages([depth_topic]), recording.messages([truth_topic])):
        predicted, truth = depth_metres(results.decode(result)), depth_metres(recording.decode(reference))
        if predicted.shape != truth.shape:
            continue
        inside = _within(truth, limits)
        both = inside & np.isfinite(predicted)
        counted += int(inside.sum())
        covered += int(both.sum())
        if both.any():
            rows.append(_rows(predicted, truth, limits, constant))
    if not rows:
        return None
    metric, scaled, flat, flat_scaled = (average(row[column] for row in rows) for column in range(4))
    return DepthAccuracy(len(rows), limits, covered / max(counted, 1), metric, scaled, constant, flat, flat_scaled)


def matched(left: Iterable[BagMessage], right: Iterable[BagMessage]) -> Iterator[tuple[BagMessage, BagMessage]]:
    """Yields the pairs of messages with the same header stamp; both sides are read once, in step.

    Only messages whose partner is still to come are held.
    """
    waiting: tuple[dict[int, BagMessage], dict[int, BagMessage]] = ({}, {})
    streams = [iter(left), iter(right)]
    open_sides = {0, 1}
    while open_sides:
        for side in sorted(open_sides):
            message = next(streams[side], None)
            if message is None:
                open_sides.discard(side)
                continue
            stamp = header_stamp_ns(message.data)
            partner = waiting[1 - side].pop(stamp, None)
            if partner is None:
                waiting[side][stamp] = message
            else:
                yield (message, partner) if side == 0 else (partner, message)


def _rows(
    predicted: np.ndarray, truth: np.ndarray, limits: tuple[float, float], constant: float
) -> list[dict[str, Tensor]]:
    """Returns the metrics of one image: as published, median-scaled, and the constant's likewise."""
    depth, target = torch.from_numpy(predicted)[None], torch.from_numpy(truth)[None]
    inside = valid_pixels(target, limits)
    both = inside & depth.isfinite()
    flat = torch.full_like(target, constant)
    return [
        depth_metrics(depth, target, both, limits),
        depth_metrics(depth, target, both, limits, median=True),
        depth_metrics(flat, target, inside, limits),
        depth_metrics(flat, target, inside, limits, median=True),
    ]


def _within(truth: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return valid_pixels(torch.from_numpy(truth), limits).numpy()


def _median_truth(recording: BagReader, topic: str, limits: tuple[float, float]) -> float:
    samples = []
    for message in recording.messages([topic]):
        truth = depth_metres(recording.decode(message))
        values = truth[_within(truth, limits)]
        samples.append(values[:: max(1, values.size // _MEDIAN_SAMPLES)])
    values = np.concatenate(samples) if samples else np.empty(0)
    return float(np.median(values)) if values.size else float("nan")
