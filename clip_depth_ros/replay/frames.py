"""The pictures of a recording with their ground truth, decoded in a thread of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.ground_truth.gathering import in_order
from clip_depth_ros.replay.ground_truth.pairing import far_enough
from clip_depth_ros.replay.ground_truth.plan import Plan
from clip_depth_ros.replay.ground_truth.survey import stamp_ns
from clip_depth_ros.replay.ground_truth.transforms import NoTransformError
from clip_depth_ros.replay.messages import BagMessage
from clip_depth_ros.replay.reader import BagReader

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        number: place among the pictures of the recording, from 0; pictures that cannot be read have one too.
        time_ns: header stamp (nanoseconds).
        message: as it was recorded.
        header: of the decoded message.
        rgb: ``(H, W, 3)`` uint8.
        truth: ``(H, W)`` float32 metres along Z, NaN = no reading, read-only; None where nothing was measured.
        camera: of the picture's size; None where nobody knows it.
    """

    number: int
    time_ns: int
    message: BagMessage
    header: Any
    rgb: np.ndarray
    truth: np.ndarray | None
    camera: CameraModel | None


@dataclass
class FrameSource:
    """Decodes the pictures of a recording, in its order.

    Attributes:
        reader: the recording.
        plan: what to take from it.
        every_s: least time between the stamps of two pictures that are taken (seconds); 0 takes all.
        skipped: why a picture was left out, by its number: who reads a part again counts nothing twice.
        without_truth: why a picture has no ground truth though one belongs to it, likewise.
    """

    reader: BagReader
    plan: Plan
    every_s: float = 0.0
    skipped: dict[int, str] = field(default_factory=dict)
    without_truth: dict[int, str] = field(default_factory=dict)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Yields the pictures from number ``start`` on; those before it are read, but not decoded."""
        partners = {sample.image_ns: sample.truth_ns for sample in self.plan.samples}
        topics = self.plan.topics
        last: int | None = None
        for number, (message, measurements) in enumerate(in_order(self.reader, topics.image, topics.truth, partners)):
            time_ns = stamp_ns(message)
            if last is not None and not far_enough(time_ns, last, self.every_s):
                continue
            last = time_ns
            if number < start:
                continue
            try:
                yield self._frame(number, time_ns, message, measurements)
            except BadInput as error:
                self.skipped[number] = str(error)

    def _frame(self, number: int, time_ns: int, message: BagMessage, measurements: Sequence[BagMessage]) -> Frame:
        content = self.reader.decode(message)
        rgb = self.plan.read_picture(content)
        height, width = rgb.shape[:2]
        view = self.plan.view(time_ns, width, height)
        truth = None
        if measurements and self.plan.truth is not None:
            try:
                decoded = [(stamp_ns(one), self.reader.decode(one)) for one in measurements]
                truth = self.plan.truth(view, decoded)
                truth = np.where(truth > 0, truth, np.float32(np.nan))
                truth.flags.writeable = False  # several heads are compared with it, and it is looked through once
            except NoTransformError as error:
                self.without_truth[number] = f"the time of the picture or its measurement lies {error}"
            except BadInput as error:
                self.without_truth[number] = str(error)
        return Frame(number, time_ns, message, content.header, rgb, truth, view.camera)


@dataclass(frozen=True)
class _End:
    """Nothing follows, because of ``error`` or because that was all."""

    error: Exception | None = None


class InBackground(Generic[_Item]):
    """Runs an iterator in a thread, a few items ahead of whoever takes them.

    Args:
        items: what to run.
        ahead: items that may wait.
    """

    def __init__(self, items: Iterator[_Item], ahead: int) -> None:
        self._items = items
        self._queue: queue.Queue[_Item | _End] = queue.Queue(ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[_Item]:
        while True:
            item = self._queue.get()
            if not isinstance(item, _End):
                yield item
            elif item.error:
                raise item.error
            else:
                return

    def close(self) -> None:
        """Ends the thread; what waits is lost."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.01)
            except queue.Empty:
                continue
        self._thread.join()

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
            self._put(_End())
        except Exception as error:  # whoever takes the items must hear of it
            self._put(_End(error))

    def _put(self, item: _Item | _End) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


def batches(frames: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    """Yields lists of up to ``size`` frames that follow each other, decoded ahead in a thread."""
    source = InBackground(frames, 2 * size)
    with closing(source):
        batch: list[Frame] = []
        for frame in source:
            batch.append(frame)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
