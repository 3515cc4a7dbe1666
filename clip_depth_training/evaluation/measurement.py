"""Measuring heads on a data set: the node's own computation against ground truth, beside the trivial predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.metrics import average, depth_metrics
from clip_depth_ros.errors import BadInput
from clip_depth_ros.progress import track
from clip_depth_training.data_sets.base import DepthDataSet, Sample
from clip_depth_training.data_sets.index import Index
from clip_depth_training.evaluation.baselines import Baseline
from clip_depth_training.evaluation.protocols import SCALINGS, Protocol

_BATCH = 16


@dataclass(frozen=True)
class Measurement:
    """What was found on one data set.

    Attributes:
        description: the data set's own, see ``DepthDataSet.description``.
        protocol: what it was measured under.
        baseline: where the trivial predictions come from.
        images: pictures measured.
        without_ground_truth: pictures with no ground truth that counts; they are in no average.
        unknown_cameras: pictures measured without intrinsics: metric depth is for a head's canonical focal length.
        remarks: what else a reader must know about the data set: pictures left out, and its own notes.
        figures: the nine metrics by predictor (the heads, then the trivial ones) and scaling.
    """

    description: dict[str, Any]
    protocol: Protocol
    baseline: Baseline
    images: int
    without_ground_truth: int
    unknown_cameras: int
    remarks: tuple[str, ...]
    figures: Mapping[tuple[str, str], Mapping[str, float]]


def batches(data: DepthDataSet) -> Iterator[list[Sample]]:
    """Yields the samples in order, neighbours of one size with known (or with unknown) cameras together."""
    waiting: list[Sample] = []
    for number in track(range(len(data)), f"measuring {data.description['name']}"):
        sample = data.sample(number)
        if waiting and (len(waiting) == _BATCH or _shape(sample) != _shape(waiting[0])):
            yield waiting
            waiting = []
        waiting.append(sample)
    if waiting:
        yield waiting


def predict(estimator: DepthEstimator, samples: Sequence[Sample], protocol: Protocol) -> dict[str, Tensor]:
    """Returns every head's depth ``(B, H, W)`` float32 metres on the CPU, as the node computes it: on one encode.

    Args:
        estimator: the network.
        samples: pictures of one size, all with intrinsics or all without.
        protocol: its size, and whether to average with the mirrored pictures' depth.
    """
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    known = [sample.intrinsics for sample in samples if sample.intrinsics is not None]
    matrices = np.stack(known) if known else None
    depths = _depths(estimator, images, matrices, protocol.size)
    if protocol.flip:
        turned = None if matrices is None else mirrored(matrices, images.shape[2])
        others = _depths(estimator, images.flip(2), turned, protocol.size)
        depths = {head: (depth + others[head].flip(2)) / 2 for head, depth in depths.items()}
    return {head: depth.cpu() for head, depth in depths.items()}


def _depths(
    estimator: DepthEstimator, images: Tensor, matrices: NDArray[np.float64] | None, size: tuple[int, int] | None
) -> dict[str, Tensor]:
    result = estimator(images, matrices, size, tokens=False)
    return {head: prediction.depth.float() for head, prediction in result.items()}


def mirrored(intrinsics: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Returns K ``(B, 3, 3)`` of the pictures' mirror images, ``width`` pixels wide."""
    turned = intrinsics.copy()
    turned[:, 0, 2] = width - 1 - turned[:, 0, 2]
    return turned


def ground_truth(samples: Sequence[Sample], size: tuple[int, int] | None) -> Tensor:
    """Returns the samples' depth ``(B, H, W)`` float32 metres, resized to ``size`` by the nearest reading."""
    truth = torch.from_numpy(np.stack([sample.depth for sample in samples]))
    return truth if size is None else F.interpolate(truth[:, None], size, mode="nearest-exact")[:, 0]


def measure(estimator: DepthEstimator, data: DepthDataSet, baseline: Baseline, protocol: Protocol) -> Measurement:
    """Measures all heads and the trivial predictions on a data set, each metric and median-scaled.

    Raises:
        BadInput: a damaged file, or no picture has ground truth that counts.
    """
    gathered: dict[tuple[str, str], list[dict[str, Tensor]]] = {}
    images = empty = unknown = 0
    for samples in batches(data):
        truth = ground_truth(samples, protocol.size)
        mask = protocol.mask(truth)
        used = mask.flatten(1).any(1)
        images, empty = images + int(used.sum()), empty + int((~used).sum())
        if not used.any():
            continue
        unknown += sum(sample.intrinsics is None for sample, counts in zip(samples, used) if counts)
        predictions = predict(estimator, samples, protocol)
        predictions |= baseline.predictions((truth.shape[1], truth.shape[2]))
        for name, depth in predictions.items():
            for scaling, median in SCALINGS:
                values = depth_metrics(depth.expand_as(truth), truth, mask, protocol.depth_range, median)
                gathered.setdefault((name, scaling), []).append(values)
    if not images:
        near, far = protocol.depth_range
        raise BadInput(
            f"No picture of {data.description['name']} has ground truth between {near:g} and {far:g} m in the crop: "
            "check the data set, or give another --range or --crop."
        )
    figures = {key: average(parts) for key, parts in gathered.items()}
    return Measurement(dict(data.description), protocol, baseline, images, empty, unknown, _remarks(data), figures)


def _shape(sample: Sample) -> tuple[Any, ...]:
    return (sample.image.shape, sample.intrinsics is None)


def _remarks(data: DepthDataSet) -> tuple[str, ...]:
    """Returns what the index of a prepared data set says about it; other data sets have none."""
    index = getattr(data, "index", None)
    if not isinstance(index, Index):
        return ()
    found = []
    if index.limited_from:
        found.append(f"only {len(data)} of {index.limited_from} pictures, as --limit of prepare took them")
    if index.skipped:
        found.append(f"{len(index.skipped)} bad pictures were left out by prepare")
    if index.without_ground_truth:
        found.append(f"{len(index.without_ground_truth)} pictures are listed without ground truth and are no samples")
    if index.intrinsics_distorted:
        found.append("the pictures are not rectified")
    return (*found, *(note.rstrip(".") for note in index.notes))
