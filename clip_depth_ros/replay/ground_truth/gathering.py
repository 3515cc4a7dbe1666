"""Brings a picture and the measurements that belong to it together, in one pass over a recording."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence

from clip_depth_ros.replay.ground_truth.plan import Planned
from clip_depth_ros.replay.ground_truth.survey import stamp_ns
from clip_depth_ros.replay.messages import BagMessage
from clip_depth_ros.replay.reader import BagReader

_PATIENCE = 120  # pictures that wait for the measurement of one before them, which may be damaged

Key = tuple[str, int]
"""Topic and header stamp."""


def gather(
    reader: BagReader, image: str, truth: str, samples: Sequence[Planned]
) -> Iterator[tuple[Planned, list[BagMessage]]]:
    """Yields each sample with its messages (the picture's first) as soon as all of them were read.

    A message is held only while a sample that needs it waits for another.
    """
    keys = {sample: [(image, sample.image_ns), *((truth, stamp) for stamp in sample.truth_ns)] for sample in samples}
    users: dict[Key, list[Planned]] = defaultdict(list)
    for sample, wanted in keys.items():
        for key in wanted:
            users[key].append(sample)
    missing = {sample: len(wanted) for sample, wanted in keys.items()}
    held: dict[Key, BagMessage] = {}
    for message in reader.messages([image, truth]):
        key = (message.topic, stamp_ns(message))
        if key in held or key not in users:
            continue
        held[key] = message
        for sample in list(users[key]):
            missing[sample] -= 1
            if missing[sample]:
                continue
            yield sample, [held[one] for one in keys[sample]]
            for one in keys[sample]:
                users[one].remove(sample)
                if not users[one]:
                    del users[one], held[one]


def in_order(
    reader: BagReader, image: str, truth: str, partners: Mapping[int, Sequence[int]]
) -> Iterator[tuple[BagMessage, list[BagMessage]]]:
    """Yields every picture in the recording's order, with the measurements that belong to it.

    Args:
        reader: the recording.
        image: the pictures' topic.
        truth: the measurements' topic, empty for none.
        partners: header stamp of a picture (nanoseconds) -> stamps of its measurements. Of pictures that share a
            stamp, the first has them.

    Yields:
        The picture's message and its measurements', all of them or none: none too where one could not be read.
    """
    wanted = dict(partners)
    users = Counter(stamp for stamps in wanted.values() for stamp in stamps)
    held: dict[int, BagMessage] = {}
    waiting: deque[tuple[BagMessage, Sequence[int]]] = deque()

    def first() -> tuple[BagMessage, list[BagMessage]]:
        message, stamps = waiting.popleft()
        complete = all(stamp in held for stamp in stamps)
        measurements = [held[stamp] for stamp in stamps] if complete else []
        for stamp in stamps:
            users[stamp] -= 1
            if not users[stamp]:
                held.pop(stamp, None)
        return message, measurements

    for message in reader.messages([image, truth] if truth else [image]):
        stamp = stamp_ns(message)
        if message.topic == image:
            waiting.append((message, wanted.pop(stamp, ())))
        elif users[stamp]:
            held.setdefault(stamp, message)
        while waiting and (len(waiting) > _PATIENCE or all(one in held for one in waiting[0][1])):
            yield first()
    while waiting:
        yield first()
