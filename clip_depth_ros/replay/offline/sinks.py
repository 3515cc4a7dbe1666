"""Where depth goes beside the report: a bag of results, and a recording for Rerun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import require_space
from clip_depth_ros.progress import track
from clip_depth_ros.replay.frames import Frame
from clip_depth_ros.replay.ground_truth.plan import Plan
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.rerun_log import RerunLog
from clip_depth_ros.replay.result_bag import ResultBag

RESULT_BAG = "result_bag"
_BYTES_PER_PIXEL = 4  # compressed: picture, depth and colours; measured 3 to 4 on rendered rooms
_BYTES_PER_POINT = 5
_ADVICE = "leave --resume out to begin anew, or --result-bag"


class BagSink:
    """Writes every picture and its depth into a result bag."""

    def __init__(self, bag: ResultBag) -> None:
        self._bag = bag

    def add(self, frame: Frame, depths: Mapping[str, np.ndarray], figures: Mapping[str, float]) -> None:
        """See :class:`clip_depth_ros.replay.offline.run.Sink`."""
        self._bag.write(frame.message, frame.header, frame.rgb, depths, frame.camera)


class RerunSink:
    """Writes every picture, its depth, its truth and its figures into a Rerun recording."""

    def __init__(self, log: RerunLog) -> None:
        self._log = log

    def add(self, frame: Frame, depths: Mapping[str, np.ndarray], figures: Mapping[str, float]) -> None:
        """See :class:`clip_depth_ros.replay.offline.run.Sink`."""
        self._log.log(frame.time_ns, frame.rgb, depths, frame.truth, frame.camera, figures)


@contextmanager
def result_bag(
    folder: Path,
    reader: BagReader,
    plan: Plan,
    ranges: Mapping[str, tuple[float, float]],
    points_every: int,
    done: int,
) -> Iterator[BagSink]:
    """Yields what writes ``result_bag`` in ``folder``; the bag gets its name when the block ends well.

    Args:
        folder: the replay's folder.
        reader: the recording, whose transforms are copied.
        plan: says which topics are used.
        ranges: by head, nearest and farthest reading (metres), which scale its colours.
        points_every: points of every n-th picture; 0 for none.
        done: pictures that an earlier replay wrote there, to begin with; 0 begins anew.

    Raises:
        BadInput: the disk has not enough space, the bag cannot be written, or it does not hold what was done.
    """
    width, height = plan.size
    a_picture = len(ranges) * _BYTES_PER_PIXEL + (_BYTES_PER_POINT * len(ranges) / points_every if points_every else 0)
    require_space(folder, int(reader.topics[plan.topics.image].count * width * height * a_picture))
    path = folder / RESULT_BAG
    with ResultBag(path, ranges, overwrite=True, points_every=points_every) as bag:
        if done:
            if not path.exists():
                raise BadInput(f"{path}, which should hold the {done} pictures done so far, is not there: {_ADVICE}.")
            with BagReader(path) as before:
                counts = (topic.count for name, topic in before.topics.items() if name.endswith("/depth/image"))
                held = max(counts, default=0)
                if held != done:
                    raise BadInput(f"{path} holds {held} pictures and {done} were done so far: {_ADVICE}.")
                total = sum(topic.count for topic in before.topics.values())
                for message in track(before.messages(), "copying the results so far", total):
                    bag.copy(message)
        else:
            info = plan.cameras.source if plan.cameras is not None else ""
            bag.copy_from(reader, info if info in reader.topics else "")
        yield BagSink(bag)
