"""Sheets of pictures to judge the measured heads by."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.metrics import depth_metrics
from clip_depth_ros.depth.pictures import beside_truth, side_by_side, stacked
from clip_depth_ros.files import replacing
from clip_depth_training.data_sets.base import DepthDataSet, Sample
from clip_depth_training.data_sets.index import evenly
from clip_depth_training.evaluation.measurement import ground_truth, predict
from clip_depth_training.evaluation.protocols import Protocol


def write_sheet(estimator: DepthEstimator, data: DepthDataSet, protocol: Protocol, count: int, path: Path) -> None:
    """Writes ``count`` samples spread evenly over a data set as a PNG, one a row.

    One head is shown as picture, prediction, ground truth and relative error; several as picture, ground truth and
    the prediction of each head on one colour scale.

    Raises:
        BadInput: a damaged sample, or a file that cannot be written.
    """
    rows = [_drawn(estimator, data.sample(number), protocol, number) for number in evenly(len(data), count)]
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", stacked(rows)[..., ::-1])[1].tobytes())


def _drawn(estimator: DepthEstimator, sample: Sample, protocol: Protocol, number: int) -> NDArray[np.uint8]:
    """Returns one row ``(H, W, 3)`` RGB."""
    truth = ground_truth([sample], protocol.size)
    mask = protocol.mask(truth)
    depths = predict(estimator, [sample], protocol)
    image = cv2.resize(sample.image, truth.shape[:0:-1], interpolation=cv2.INTER_AREA)
    shown = np.where(mask[0].numpy(), truth[0].numpy(), np.float32("nan"))
    said = {head: _error_text(depth, truth, mask, protocol) for head, depth in depths.items()}
    if len(depths) == 1:
        ((head, depth),) = depths.items()
        return side_by_side(image, depth[0].numpy(), shown, f"{number}, {said[head] or 'no ground truth'}")
    titles = {", ".join(filter(None, (head, said[head]))): depth[0].numpy() for head, depth in depths.items()}
    return beside_truth(image, shown, titles, str(number) if mask.any() else f"{number}, no ground truth")


def _error_text(depth: Tensor, truth: Tensor, mask: Tensor, protocol: Protocol) -> str:
    errors = depth_metrics(depth, truth, mask, protocol.depth_range)["abs_rel"]
    return f"AbsRel {float(errors[0]):.3f}" if len(errors) else ""
