"""How much depth changes from one frame to the next where the world does not: flicker.

Which pixels are static is decided without the prediction, from two frames of one size:

1. The picture must not have changed there: grey values, averaged over 3x3 pixels so that sensor noise does not
   count, differ by at most 5 of 255.
2. Where both frames have ground truth, it must have changed by at most 1 %, about the noise of an RGB-D camera in a
   room. This holds for a moving camera too: there, a pixel that stays at its distance is one of a surface seen along.
3. Where there is no truth, the grey value alone decides, and only while the camera stands still: a white wall looks
   unchanged from a moving one. It stands still where at least 80 % of the pixels with texture are unchanged, and at
   least 1 % have texture; a picture without texture says nothing.

With fewer than 1 % of the pixels static, a frame has no flicker. A frame's flicker is the mean of |log(d_t / d_{t-1})|
over its static pixels, which for small changes is the relative change of depth from frame to frame; the truth's own
change at those pixels, which holds its sensor's noise and slow motion, is what it is to be compared with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from clip_depth_ros.replay.scores.state import State, Table

GREY_TOLERANCE = 5
TRUTH_TOLERANCE = 0.01
SMALLEST_SHARE = 0.01
_TEXTURE = 12  # largest minus smallest grey value of the 3x3 neighbours of a pixel with texture
_STILL = 0.8


@dataclass(frozen=True)
class Frame:
    """What is kept of a frame until the next one comes.

    Attributes:
        depth: ``(H, W)`` float32 metres, the prediction.
        truth: ``(H, W)`` float32 metres, or ``(0, 0)``: none.
        grey: ``(H, W)`` uint8, averaged over 3x3 pixels.
    """

    depth: np.ndarray
    truth: np.ndarray
    grey: np.ndarray


class Flicker:
    """Compares each frame with the one before.

    Args:
        limits: nearest and farthest truth that counts, metres.
    """

    def __init__(self, limits: tuple[float, float]) -> None:
        self._limits = limits
        self._before: Frame | None = None
        self._measured = Table("flicker", "truth", "share")

    def add(self, depth: np.ndarray, truth: np.ndarray | None, rgb: np.ndarray) -> float:
        """Adds a frame and returns its flicker, NaN where it cannot be measured.

        Args:
            depth: ``(H, W)`` float32 metres, NaN for none.
            truth: ``(H, W)`` float32 metres, NaN for none, or None.
            rgb: ``(H, W, 3)`` uint8.
        """
        grey = cv2.blur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (3, 3))
        frame = Frame(depth.copy(), np.empty((0, 0), np.float32) if truth is None else truth.copy(), grey)
        before, self._before = self._before, frame
        if before is None or before.depth.shape != depth.shape:
            return math.nan
        change = _change(before.depth, frame.depth)
        usable = static_pixels(before, frame, self._limits) & np.isfinite(change)
        count = int(np.count_nonzero(usable))
        if count < max(SMALLEST_SHARE * depth.size, 1):
            return math.nan
        flicker = _mean(change, usable)
        known = _both_known(before, frame, self._limits)
        truth_change = math.nan if known is None else _mean(_change(before.truth, frame.truth), usable & known)
        self._measured.add(flicker, truth_change, count / depth.size)
        return flicker

    def result(self) -> dict[str, Any] | None:
        """Returns ``mean``, ``truth_mean`` and ``pixels_share``, the means over the frames that have a flicker."""
        if not len(self._measured):
            return None
        flicker, truth, share = (self._measured.column(name) for name in self._measured.columns)
        truth = truth[np.isfinite(truth)]
        return {
            "mean": float(flicker.mean()),
            "truth_mean": float(truth.mean()) if truth.size else None,
            "pixels_share": float(share.mean()),
        }

    def state(self) -> State:
        """Returns the last frame and what was measured."""
        return {"measured": self._measured.array(), **(vars(self._before) if self._before else {})}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on from :meth:`state`."""
        self._measured.restore(state["measured"])
        self._before = Frame(state["depth"], state["truth"], state["grey"]) if "depth" in state else None


def static_pixels(before: Frame, frame: Frame, limits: tuple[float, float]) -> np.ndarray:
    """Returns ``(H, W)`` bool, where the world did not change between two frames of one size; see the module."""
    unchanged = (cv2.absdiff(before.grey, frame.grey) <= GREY_TOLERANCE).astype(bool, copy=False)
    still = _stands_still(before, unchanged)
    known = _both_known(before, frame, limits)
    if known is None:
        return unchanged & still
    change = np.subtract(frame.truth, before.truth, where=known, out=np.zeros_like(frame.truth))
    at_its_distance = np.abs(change, out=change) <= np.float32(TRUTH_TOLERANCE) * before.truth
    return unchanged & np.where(known, at_its_distance, still)


def _stands_still(before: Frame, unchanged: np.ndarray) -> bool:
    square = np.ones((3, 3), np.uint8)
    texture = cv2.morphologyEx(before.grey, cv2.MORPH_GRADIENT, square) >= _TEXTURE
    count = int(np.count_nonzero(texture))
    kept = int(np.count_nonzero(texture & unchanged))
    return count >= SMALLEST_SHARE * texture.size and kept >= _STILL * count


def _both_known(before: Frame, frame: Frame, limits: tuple[float, float]) -> np.ndarray | None:
    """Returns where both frames have a truth inside the range, ``(H, W)`` bool; None where one of them has none."""
    if not before.truth.size or not frame.truth.size:
        return None
    old, new = before.truth, frame.truth
    return (old > limits[0]) & (old < limits[1]) & (new > limits[0]) & (new < limits[1])


def _change(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Returns |log(new / old)| ``(H, W)`` float32, not finite where one of them is no depth; good to 1e-7."""
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.log(new / old)
    return np.abs(change, out=change)


def _mean(values: np.ndarray, where: np.ndarray) -> float:
    """Returns the mean over the pixels of ``where``, summed in float64; NaN for none."""
    chosen = values[where]
    return float(chosen.mean(dtype=np.float64)) if chosen.size else math.nan
