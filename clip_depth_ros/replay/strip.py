"""A few frames spread over a recording of unknown length, kept small, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from clip_depth_ros.replay.page import StripFrame

_WIDTH = 480  # pixels that a kept picture has at most
_SPARSE = 0.2  # part of the pixels with a reading


class Strip:
    """Keeps every 1st, 2nd, 4th, ... frame, so that there are always between ``most / 2`` and ``most`` of them.

    Args:
        most: frames kept at most.
    """

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._step = 1
        self._kept: dict[int, StripFrame] = {}

    def wants(self, count: int) -> bool:
        """Returns whether the frame that ``count`` frames came before is to be kept."""
        return count % self._step == 0

    def add(
        self,
        count: int,
        t_s: float,
        rgb: np.ndarray,
        truth: np.ndarray | None,
        depths: Mapping[str, np.ndarray],
    ) -> None:
        """Keeps a frame; arrays as those of :class:`StripFrame`, of any size."""
        half = {name: _reduced(depth).astype(np.float16) for name, depth in depths.items()}
        small = None if truth is None else _reduced(truth).astype(np.float16)
        self._kept[count] = StripFrame(t_s, _reduced(rgb), small, half)
        while len(self._kept) > self._most:
            self._step *= 2
            self._kept = {number: frame for number, frame in self._kept.items() if number % self._step == 0}

    def frames(self) -> list[StripFrame]:
        """Returns what was kept, in order."""
        return [
            StripFrame(
                frame.t_s,
                frame.rgb,
                None if frame.truth is None else frame.truth.astype(np.float32),
                {name: depth.astype(np.float32) for name, depth in frame.depths.items()},
            )
            for frame in self._kept.values()
        ]

    def state(self) -> dict[str, Any]:
        """Returns what :meth:`restore` needs: arrays by name."""
        arrays: dict[str, Any] = {"step": np.array(self._step)}
        for number, frame in self._kept.items():
            arrays[f"{number}/t_s"] = np.array(frame.t_s)
            arrays[f"{number}/rgb"] = frame.rgb
            if frame.truth is not None:
                arrays[f"{number}/truth"] = frame.truth
            arrays |= {f"{number}/depth/{name}": depth for name, depth in frame.depths.items()}
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over what :meth:`state` returned."""
        self._step = int(arrays["step"])
        numbers = sorted({int(name.partition("/")[0]) for name in arrays if name != "step"})
        for number in numbers:
            start = f"{number}/depth/"
            depths = {name[len(start) :]: array for name, array in arrays.items() if name.startswith(start)}
            truth = arrays.get(f"{number}/truth")
            self._kept[number] = StripFrame(float(arrays[f"{number}/t_s"]), arrays[f"{number}/rgb"], truth, depths)


def _reduced(picture: np.ndarray) -> np.ndarray:
    """Returns a picture or depth at most ``_WIDTH`` wide.

    Depth takes the nearest pixel, for means over edges lie nowhere; where few pixels have a reading (LiDAR), the
    nearest reading of each block, so that none falls between.
    """
    height, width = picture.shape[:2]
    if width <= _WIDTH:
        return picture.copy()
    size = (_WIDTH, max(1, round(height * _WIDTH / width)))
    if picture.ndim == 3:
        return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    rows, columns = np.nonzero(np.isfinite(picture))
    if len(rows) > _SPARSE * picture.size:
        return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST_EXACT)
    small = np.full(size[::-1], np.inf, np.float32)
    np.minimum.at(small, (rows * size[1] // height, columns * size[0] // width), picture[rows, columns])
    return np.where(np.isinf(small), np.float32(np.nan), small)
