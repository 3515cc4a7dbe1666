"""How good depth is against a bag's own ground truth: the nine usual metrics, metric and median-scaled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clip_depth_ros.replay.depth_image import depth_metres
from clip_depth_ros.replay.messages import BagMessage, header_stamp_ns
from clip_depth_ros.replay.reader import BagReader

METRICS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "d1", "d2", "d3")
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


def image_metrics(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Returns the metrics of Eigen et al. (2014) and their successors for the pixels of one image.

    Args:
        predicted: ``(N,)`` depth in metres, positive and finite.
        truth: ``(N,)`` ground truth, likewise.

    Returns:
        ``abs_rel``, ``sq_rel`` (m), ``rmse`` (m), ``rmse_log``, ``log10``, ``silog`` (x 100, as KITTI has it) and the
        parts of pixels whose ratio is below 1.25, 1.25^2 and 1.25^3 (``d1``, ``d2``, ``d3``).
    """
    predicted, truth = predicted.astype(np.float64), truth.astype(np.float64)
    error = predicted - truth
    logs = np.log(predicted) - np.log(truth)
    ratio = np.maximum(predicted / truth, truth / predicted)
    return {
        "abs_rel": float(np.mean(np.abs(error) / truth)),
        "sq_rel": float(np.mean(error**2 / truth)),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "rmse_log": float(np.sqrt(np.mean(logs**2))),
        "log10": float(np.mean(np.abs(logs)) / np.log(10.0)),
        "silog": float(100.0 * np.std(logs)),
        "d1": float(np.mean(ratio < 1.25)),
        "d2": float(np.mean(ratio < 1.25**2)),
        "d3": float(np.mean(ratio < 1.25**3)),
    }


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
    rows: list[list[dict[str, float]]] = []
    covered = counted = 0
    for result, reference in matched(results.messages([depth_topic]), recording.messages([truth_topic])):
        predicted, truth = depth_metres(results.decode(result)), depth_metres(recording.decode(reference))
        if predicted.shape != truth.shape:
            continue
        inside = within(truth, limits)
        both = inside & np.isfinite(predicted)
        counted += int(inside.sum())
        covered += int(both.sum())
        if both.any():
            rows.append(_rows(predicted[both], truth[both], truth[inside], constant))
    if not rows:
        return None
    metric, scaled, flat, flat_scaled = (_mean([row[column] for row in rows]) for column in range(4))
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


def within(truth: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Returns ``(H, W)`` bool: True where there is ground truth (metres) from ``limits[0]`` to ``limits[1]``."""
    with np.errstate(invalid="ignore"):
        inside: np.ndarray = (truth >= limits[0]) & (truth <= limits[1])
    return inside


def median_scaled(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns ``predicted`` times median(truth) / median(predicted), both over the same pixels."""
    scaled: np.ndarray = predicted * (np.median(truth) / np.median(predicted))
    return scaled


def _rows(predicted: np.ndarray, truth: np.ndarray, all_truth: np.ndarray, constant: float) -> list[dict[str, float]]:
    flat = np.full_like(all_truth, constant)
    return [
        image_metrics(predicted, truth),
        image_metrics(median_scaled(predicted, truth), truth),
        image_metrics(flat, all_truth),
        image_metrics(median_scaled(flat, all_truth), all_truth),
    ]


def _median_truth(recording: BagReader, topic: str, limits: tuple[float, float]) -> float:
    samples = []
    for message in recording.messages([topic]):
        truth = depth_metres(recording.decode(message))
        values = truth[within(truth, limits)]
        samples.append(values[:: max(1, values.size // _MEDIAN_SAMPLES)])
    values = np.concatenate(samples) if samples else np.empty(0)
    return float(np.median(values)) if values.size else float("nan")


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in METRICS}
