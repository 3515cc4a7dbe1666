"""What a figure is measured under: depth range, crop, flip averaging, size and scaling, all named in the table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from clip_depth_ros.depth.metrics import valid_pixels
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.crops import CROPS as CUTS
from clip_depth_training.data_sets.crops import seen_through

SCALINGS = (("metric", False), ("median-scaled", True))
"""The name of each scaling, and whether a prediction is multiplied by median(truth) / median(prediction) first."""

SMALLEST_DEPTH = 0.001
"""Metres; the logarithm of a prediction that is clipped to 0 would not be finite."""

NYU_SIZE = (480, 640)
_NYU_EIGEN = (45, 471, 41, 601)  # top, bottom, left, right at NYU_SIZE
_FRACTIONS = {
    "kitti_eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
}
CROPS = ("none", "nyu_eigen", *_FRACTIONS)
CROP_OPTIONS = ("none", "eigen", "nyu_eigen", "kitti_eigen", "garg")

_CROP_TEXT = {
    "none": "no crop",
    "nyu_eigen": "crop nyu_eigen (rows 45 to 471 and columns 41 to 601 of 480x640)",
    **{
        name: f"crop {name} (rows {top} to {bottom} of the height, columns {left} to {right} of the width)"
        for name, (top, bottom, left, right) in _FRACTIONS.items()
    },
}


@dataclass(frozen=True)
class Protocol:
    """How predictions are compared with ground truth; the scaling comes on top, as every figure is given for both.

    Attributes:
        depth_range: nearest and farthest ground truth that counts, metres, exclusive; predictions are clipped to it.
        crop: one of :data:`CROPS`.
        flip: whether the prediction is the mean of the picture's and its mirror image's.
        size: (H, W) in pixels that depth is compared at; None for each picture's own.
        cut: what the data set cuts its pictures to before anything else, one of :data:`CUTS`; None where it leaves
            them whole.
        encoder_input: how the encoder is given pictures, where that is not its own size and normalisation.
    """

    depth_range: tuple[float, float]
    crop: str = "none"
    flip: bool = False
    size: tuple[int, int] | None = None
    cut: str | None = None
    encoder_input: str = ""

    @property
    def text(self) -> str:
        """The protocol in words, without the depth range and the scaling."""
        parts = ["averaged per image", _CROP_TEXT[self.crop], "flip averaging" if self.flip else "no flip averaging"]
        if self.cut:
            parts.append(f"pictures cut to {CUTS[self.cut]}")
        if self.encoder_input:
            parts.append(f"encoder input {self.encoder_input}")
        if self.size is not None:
            parts.append(f"predicted at {self.size[0]}x{self.size[1]}, ground truth resized to it (nearest)")
        return ", ".join(parts)

    def mask(self, truth: Tensor) -> Tensor:
        """Returns the pixels of ``truth (B, H, W)`` metres that count, bool."""
        top, bottom, left, right = crop_box(self.crop, (truth.shape[1], truth.shape[2]), self.cut)
        inside = torch.zeros_like(truth, dtype=torch.bool)
        inside[:, top:bottom, left:right] = True
        return valid_pixels(truth, self.depth_range) & inside


def crop_box(name: str, size: tuple[int, int], cut: str | None = None) -> tuple[int, int, int, int]:
    """Returns (top, bottom, left, right) in pixels; bottom and right are outside.

    Fractions are cut off, not rounded, as the evaluation codes of the papers do. The NYU crop is given in pixels of
    480x640; at another size it is scaled.

    Args:
        name: one of :data:`CROPS`.
        size: (H, W) of the depth.
        cut: what the data set has cut its pictures to, one of :data:`CUTS`; of NYU's crop that leaves a part.
    """
    height, width = size
    if name == "none":
        return 0, height, 0, width
    if name == "nyu_eigen":
        box, (rows, columns) = seen_through(_NYU_EIGEN, "nyu", NYU_SIZE) if cut == "nyu" else (_NYU_EIGEN, NYU_SIZE)
        top, bottom, left, right = box
        return top * height // rows, bottom * height // rows, left * width // columns, right * width // columns
    above, below, before, behind = _FRACTIONS[name]
    return int(above * height), int(below * height), int(before * width), int(behind * width)


def choose_crop(option: str, kind: str, name: str, size: tuple[int, int]) -> str:
    """Returns the crop that ``--crop`` means for a data set: ``eigen`` is another one for NYU than for KITTI.

    Args:
        option: one of :data:`CROP_OPTIONS`.
        kind: the data set's kind.
        name: the data set's name, for the message.
        size: (H, W) of its first picture.

    Raises:
        BadInput: ``eigen`` was asked for and the data set is neither.
    """
    if option != "eigen":
        return option
    if kind.startswith("kitti"):
        return "kitti_eigen"
    if kind.startswith("nyu") or size == NYU_SIZE:
        return "nyu_eigen"
    raise BadInput(
        f"--crop eigen is one thing for NYU and another for KITTI, and {name} ({kind}, {size[1]}x{size[0]}) is "
        "neither: give nyu_eigen, kitti_eigen, garg or none."
    )


def choose_range(
    given: tuple[float, float] | None,
    heads: Mapping[str, tuple[float, float]],
    data: tuple[float, float],
    name: str,
) -> tuple[float, float]:
    """Returns the depth range (metres) to measure in: what was asked for, or what heads and data set have in common.

    Args:
        given: what was asked for, or None.
        heads: the range of each head, by its name.
        data: the range of the data set.
        name: the data set's name, for the message.

    Raises:
        BadInput: the range asked for is none, or the heads and the data set have nothing in common.
    """
    if given is not None:
        if not SMALLEST_DEPTH <= given[0] < given[1] < math.inf:
            raise BadInput(
                f"--range {given[0]:g} {given[1]:g} must be MIN < MAX in metres, with MIN at least {SMALLEST_DEPTH}."
            )
        return given
    nearest, farthest = zip(*heads.values(), data)
    near, far = max(*nearest, SMALLEST_DEPTH), min(farthest)
    if near >= far:
        called = heads if len(heads) > 1 else ["The head"]
        told = [f"{head} is for {span[0]:g} to {span[1]:g} m" for head, span in zip(called, heads.values())]
        raise BadInput(
            f"{', '.join(told)} and {name} has {data[0]:g} to {data[1]:g} m, which have nothing in common: give "
            "--range."
        )
    return near, far
