"""The trivial predictions that depth must beat: a constant, and the mean depth of each picture row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clip_depth_ros.depth.metrics import valid_pixels
from clip_depth_ros.errors import BadInput
from clip_depth_ros.progress import track
from clip_depth_training.data_sets.base import DepthDataSet

CONSTANT, ROW_MEANS = "constant", "row means"
OF_THIS_DATA = " (of this very data)"
_SAMPLES = 2000


@dataclass(frozen=True)
class Baseline:
    """Predictions that look at no picture.

    Attributes:
        constant: mean depth of all readings, metres.
        row_means: ``(R,)`` mean depth of each picture row, metres: floors are near the bottom of a picture.
        source: name of the data set they were taken from.
        own: whether that is the data set being measured, which is the harder test.
    """

    constant: float
    row_means: Tensor
    source: str
    own: bool

    def predictions(self, size: tuple[int, int]) -> dict[str, Tensor]:
        """Returns the predictions by name, each ``(1, H, W)`` float32 metres."""
        height, width = size
        rows = F.interpolate(self.row_means[None, None], height, mode="linear", align_corners=False)[0, 0]
        label = OF_THIS_DATA if self.own else ""
        return {
            CONSTANT + label: torch.full((1, height, width), self.constant),
            ROW_MEANS + label: rows[None, :, None].expand(1, height, width),
        }


def baseline_of(data: DepthDataSet, depth_range: tuple[float, float], own: bool) -> Baseline:
    """Takes the baseline from up to 2000 samples spread evenly over ``data``; all their pixels count the same.

    Args:
        data: the training set, or the set being measured.
        depth_range: readings that count, metres, exclusive.
        own: whether ``data`` is the set being measured.

    Raises:
        BadInput: no reading in the range, or a damaged file.
    """
    name = str(data.description["name"])
    chosen = range(0, len(data), max(1, -(-len(data) // _SAMPLES)))
    total, count = np.zeros(0), np.zeros(0)
    for number in track(chosen, f"baseline of {name}"):
        depth = data.sample(number).depth
        if not total.size:
            total, count = np.zeros(len(depth)), np.zeros(len(depth))
        mask = valid_pixels(torch.from_numpy(depth), depth_range).numpy()
        # Rows of pictures of another height are sorted into those of the first.
        row = np.arange(len(depth)) * len(total) // len(depth)
        np.add.at(total, row, np.where(mask, depth, 0).sum(1, dtype=np.float64))
        np.add.at(count, row, mask.sum(1))
    if not count.any():
        raise BadInput(
            f"The data set {name} has no ground truth between {depth_range[0]:g} and {depth_range[1]:g} m, so it gives "
            "no baseline: check its depth range."
        )
    seen = count > 0
    # Rows without any reading, such as the sky in laser data, take the nearest row's that has one.
    means = np.interp(np.arange(len(total)), np.flatnonzero(seen), total[seen] / count[seen])
    return Baseline(float(total.sum() / count.sum()), torch.from_numpy(means).float(), name, own)
