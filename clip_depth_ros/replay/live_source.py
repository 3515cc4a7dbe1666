"""A recording as an endless stream of images: played again with later stamps, in excerpts, evenly spaced."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from clip_depth_ros.replay.messages import BagMessage, header_stamp_ns, with_header_stamp
from clip_depth_ros.replay.reader import BagReader

_KEPT_BYTES = 256 << 20
_SECOND_NS = 1_000_000_000
_STAMPS_NS = (1 << 31) * _SECOND_NS  # a stamp's seconds are a signed 32-bit number


class LoopedBag:
    """Yields a recording again and again; no stamp that was yielded comes again in a later pass.

    A pass's receive times continue those of the pass before, one mean interval of images after its end, and its stamps
    begin a second after the newest so far. The first pass of all is as recorded. A recording that fits is kept in
    memory, so that reading and decompressing it take nothing from the node that is measured.

    Args:
        reader: the recording.
        topics: what is played; the first field of each is a header.
        image_topic: the one of ``topics`` that counts.
        kept_bytes: most memory for messages; a larger recording is read again in each pass.
    """

    def __init__(
        self, reader: BagReader, topics: Iterable[str], image_topic: str, kept_bytes: int = _KEPT_BYTES
    ) -> None:
        self._reader = reader
        self._topics = tuple(topics)
        self._image_topic = image_topic
        self._kept_bytes = kept_bytes
        self._kept: list[BagMessage] | None = None
        self._lowest_stamp: int | None = None  # of images: a calibration may be stamped by another clock
        self._newest_stamp = self._newest_recorded = 0

    def is_recorded(self, stamp_ns: int) -> bool:
        """Returns whether an image with this stamp belongs to the first pass, as far as that was played."""
        return self._lowest_stamp is not None and self._lowest_stamp <= stamp_ns <= self._newest_recorded

    def messages(self) -> Iterator[BagMessage]:
        """Yields messages from the recording's first on, without an end; each call begins a new pass.

        Without images it ends after one pass.
        """
        time_shift = 0
        while True:
            times: list[int] = []
            # Later than all before, but for the first pass.
            stamp_shift = 0 if self._lowest_stamp is None else self._newest_stamp + _SECOND_NS - self._lowest_stamp
            for message in self._recorded():
                stamp = header_stamp_ns(message.data)
                data = message.data
                if stamp_shift:
                    data = with_header_stamp(data, (stamp + stamp_shift) % _STAMPS_NS)
                if message.topic == self._image_topic:
                    times.append(message.time_ns)
                    self._lowest_stamp = stamp if self._lowest_stamp is None else min(self._lowest_stamp, stamp)
                    self._newest_stamp = max(self._newest_stamp, stamp + stamp_shift)
                    if not stamp_shift:
                        self._newest_recorded = self._newest_stamp
                yield replace(message, time_ns=message.time_ns + time_shift, data=data)
            if not times:
                return
            length = max(times) - min(times)
            time_shift += length + (length // (len(times) - 1) if length else _SECOND_NS)

    def _recorded(self) -> Iterator[BagMessage]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[BagMessage] = []
        held = 0
        for message in self._reader.messages(self._topics):
            held += len(message.data)
            if held <= self._kept_bytes:
                kept.append(message)
            else:
                kept.clear()
            yield message
        if held <= self._kept_bytes:
            self._kept = kept


class Excerpt:
    """Yields messages until both enough time has passed and enough images went by, or the most time has passed.

    Args:
        messages: the stream.
        image_topic: the topic that counts.
        seconds: time from the first image on that it takes at least.
        images: images that it has at least.
        most_seconds: time from the first image on after which it ends in any case, at the next image.

    Attributes:
        sent: images yielded so far.
        recorded_hz: their rate by their receive times; NaN below two.
    """

    def __init__(
        self, messages: Iterable[BagMessage], image_topic: str, seconds: float, images: int, most_seconds: float
    ) -> None:
        self._messages = messages
        self._image_topic = image_topic
        self._seconds, self._images, self._most_seconds = seconds, images, most_seconds
        self._first = self._last = 0
        self.sent = 0

    @property
    def recorded_hz(self) -> float:
        """The images' rate by their receive times (Hz); NaN where they have none."""
        length = self._last - self._first
        return (self.sent - 1) * 1e9 / length if self.sent > 1 and length > 0 else float("nan")

    def __iter__(self) -> Iterator[BagMessage]:
        began = float("nan")
        for message in self._messages:
            if message.topic != self._image_topic:
                yield message
                continue
            if not self.sent:
                self._first, began = message.time_ns, time.monotonic()
            self._last = message.time_ns
            self.sent += 1
            yield message
            # By now it was published. Asking for one more to see whether it is late would use up a stamp.
            passed = time.monotonic() - began
            if passed >= self._most_seconds or (passed >= self._seconds and self.sent >= self._images):
                return


def evenly(messages: Iterable[BagMessage], image_topic: str, hertz: float) -> Iterator[BagMessage]:
    """Yields messages with receive times that put images at an even rate; the others go with the next image."""
    images = 0
    for message in messages:
        yield replace(message, time_ns=round(images * 1e9 / hertz))
        images += message.topic == image_topic
