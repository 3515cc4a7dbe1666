"""Scores of several heads and conditions on the pictures of one recording, and the moments of it to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clip_depth_ros.replay.conditions import AS_RECORDED
from clip_depth_ros.replay.frames import Frame
from clip_depth_ros.replay.scores import Scores
from clip_depth_ros.replay.strip import Strip

RunKey = tuple[str, str]
"""Head and condition."""


class Scoring:
    """Takes depth picture by picture.

    Args:
        runs: what is scored; the first head is the main one.
        limits: nearest and farthest ground truth that counts (metres).

    Attributes:
        scores: of each run.
        strip: pictures kept to look at: of every head as recorded, of the main head under every condition.
        stamps_ns: header stamps of the pictures so far.
    """

    def __init__(self, runs: Sequence[RunKey], limits: tuple[float, float]) -> None:
        self.scores = {run: Scores(limits) for run in runs}
        self.strip = Strip()
        self.stamps_ns: list[int] = []

    @property
    def pictures(self) -> int:
        """How many pictures were taken."""
        return len(self.stamps_ns)

    def seconds(self, stamp_ns: int) -> float:
        """Returns a header stamp as seconds since the first picture's."""
        return (stamp_ns - self.stamps_ns[0]) / 1e9

    def add(self, frame: Frame, depths: Mapping[RunKey, np.ndarray]) -> None:
        """Takes a picture and the depth of every run, ``(H, W)`` float32 metres, NaN = no reading."""
        self.stamps_ns.append(frame.time_ns)
        t_s = self.seconds(frame.time_ns)
        rays = frame.camera.rays() if frame.camera is not None and frame.camera.is_calibrated else None
        for run, scores in self.scores.items():
            scores.add(t_s, depths[run], frame.truth, frame.rgb, rays)
        count = self.pictures - 1
        if self.strip.wants(count):
            main = next(iter(self.scores))[0]
            shown = {
                head if condition == AS_RECORDED else f"{head}, {condition}": depth
                for (head, condition), depth in depths.items()
                if condition == AS_RECORDED or head == main
            }
            self.strip.add(count, t_s, frame.rgb, frame.truth, shown)

    def columns(self, run: RunKey) -> dict[str, list[Any]]:
        """Returns what is known of each picture, by name."""
        return {
            "t_s": [self.seconds(stamp) for stamp in self.stamps_ns],
            "stamp_ns": [str(stamp) for stamp in self.stamps_ns],
            **self.scores[run].frames(),
        }

    def state(self) -> dict[str, Mapping[str, np.ndarray]]:
        """Returns what :meth:`restore` needs: arrays by part and name."""
        states = {str(number): scores.state() for number, scores in enumerate(self.scores.values())}
        return {"own": {"stamps_ns": np.array(self.stamps_ns, np.int64)}, "strip": self.strip.state(), **states}

    def restore(self, parts: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Takes over what :meth:`state` returned."""
        self.stamps_ns = parts["own"]["stamps_ns"].tolist()
        self.strip.restore(parts["strip"])
        self.scores = {run: Scores.from_state(parts[str(number)]) for number, run in enumerate(self.scores)}
