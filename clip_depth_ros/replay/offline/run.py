"""Every picture of a recording through the estimator, under every condition, compared with its ground truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.masking import readings
from clip_depth_ros.replay.conditions import AS_RECORDED
from clip_depth_ros.replay.degrade import degrade
from clip_depth_ros.replay.frames import Frame, FrameSource, batches
from clip_depth_ros.replay.scoring import RunKey, Scoring


class Sink(Protocol):
    """Takes depth of the pictures as they were recorded."""

    def add(self, frame: Frame, depths: Mapping[str, np.ndarray], figures: Mapping[str, float]) -> None:
        """Takes one picture, its depth by head, ``(H, W)`` float32 metres each, NaN = no reading, and its figures.

        Figures are named ``head/abs_rel`` and so on, NaN where there is none.
        """
        ...


@dataclass
class Timing:
    """What the estimator took for one condition, all heads in one encode.

    Attributes:
        frames: pictures after the first batch, which is slower than all others.
        seconds: spent on them.
        per_frame_ms: each batch's time a picture, milliseconds.
    """

    frames: int = 0
    seconds: float = 0.0
    per_frame_ms: list[float] = field(default_factory=list)

    def plain(self, batch: int) -> dict[str, float | int] | None:
        """Returns it as reports have it, of pictures taken ``batch`` at a time; None for a single batch."""
        if not self.frames:
            return None
        return {
            "frames": self.frames,
            "frames_per_s": self.frames / self.seconds,
            "network_ms_p50": float(np.median(self.per_frame_ms)),
            "batch": batch,
        }


class OfflineRun:
    """Scores heads on a recording, batch by batch; can be stopped after any batch and taken up again.

    Args:
        source: the pictures.
        estimator: runs all heads in one encode.
        heads: names of the heads, the main one first.
        conditions: :mod:`~clip_depth_ros.replay.conditions`, in order.
        limits: nearest and farthest ground truth that counts (metres).
        batch: pictures in one encode.
        sinks: take the depth of the pictures as recorded.

    Attributes:
        scoring: the scores so far.
        timing: of each condition.
        next_number: number of the first picture not processed yet.
    """

    def __init__(
        self,
        source: FrameSource,
        estimator: DepthEstimator,
        heads: Sequence[str],
        conditions: Sequence[str],
        limits: tuple[float, float],
        batch: int = 4,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self._source = source
        self._estimator = estimator
        self._heads = tuple(heads)
        self._batch = batch
        self._sinks = sinks
        self.scoring = Scoring([(head, condition) for head in heads for condition in conditions], limits)
        self.timing = {condition: Timing() for condition in conditions}
        self.next_number = 0

    def go(self, after_batch: Callable[[], bool]) -> bool:
        """Processes the rest of the recording.

        Args:
            after_batch: called after each batch; False stops.

        Returns:
            Whether the recording's end was reached.
        """
        first = True
        for batch in batches(self._source.frames(self.next_number), self._batch):
            self._process(batch, warm=not first)
            first = False
            self.next_number = batch[-1].number + 1
            if not after_batch():
                return False
        return True

    def _process(self, batch: Sequence[Frame], warm: bool) -> None:
        found: list[dict[RunKey, np.ndarray]] = [{} for _ in batch]
        for condition in self.timing:
            for depths, mine in zip(self._depths(batch, condition, warm), found):
                mine.update({(head, condition): depth for head, depth in depths.items()})
        for frame, mine in zip(batch, found):
            self.scoring.add(frame, mine)
            for sink in self._sinks:
                sink.add(frame, {head: mine[head, AS_RECORDED] for head in self._heads}, self._figures())

    def _figures(self) -> dict[str, float]:
        latest = {head: self.scoring.scores[head, AS_RECORDED].latest() for head in self._heads}
        return {f"{head}/{name}": value for head, figures in latest.items() for name, value in figures.items()}

    def _depths(self, batch: Sequence[Frame], condition: str, warm: bool) -> list[dict[str, np.ndarray]]:
        """Returns each picture's depth by head, ``(H, W)`` float32 metres, NaN = no reading."""
        pictures = [
            frame.rgb if condition == AS_RECORDED else degrade(frame.rgb, condition, frame.number) for frame in batch
        ]
        start = time.perf_counter()
        results = self._estimator.run(pictures, [frame.camera for frame in batch], heads=self._heads, to_host=True)
        seconds = time.perf_counter() - start
        timing = self.timing[condition]
        if warm:
            timing.frames += len(batch)
            timing.seconds += seconds
            timing.per_frame_ms.append(1e3 * seconds / len(batch))
        return [
            {head: readings(result[head].depth[0].numpy(), result[head].valid_range) for head in self._heads}
            for result in results
        ]

    def state(self) -> tuple[dict[str, Any], dict[str, Mapping[str, np.ndarray]]]:
        """Returns what :meth:`restore` needs: plain values, and arrays by part and name."""
        plain = {
            "next_number": self.next_number,
            "timing": {name: vars(timing) for name, timing in self.timing.items()},
            "skipped": list(self._source.skipped.items()),
            "without_truth": list(self._source.without_truth.items()),
        }
        return plain, self.scoring.state()

    def restore(self, plain: Mapping[str, Any], arrays: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Takes over what :meth:`state` returned."""
        self.next_number = plain["next_number"]
        self.timing = {name: Timing(**values) for name, values in plain["timing"].items()}
        self._source.skipped.update(plain["skipped"])
        self._source.without_truth.update(plain["without_truth"])
        self.scoring.restore(arrays)
