"""How many images are on their way to a node and back, so that it gets as many as it takes and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class _Image:
    stamp_ns: int
    number: int
    heard: set[str] = field(default_factory=set)


class InFlight:
    """Counts images that were sent and that neither they nor a later one was answered on every topic.

    A node answers in the order of its images, so an answer to a later one says that an earlier one was dropped.
    One thread may send while another receives.

    Args:
        topics: where an answer comes; it is complete when it came on all of them.
    """

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = frozenset(topics)
        self._changed = threading.Condition()
        self._sent = 0
        self._done = 0
        self._open: list[_Image] = []

    @property
    def count(self) -> int:
        """How many there are."""
        with self._changed:
            return self._sent - self._done

    def send(self, stamp_ns: int) -> None:
        """Notes that the image with this stamp is sent now."""
        with self._changed:
            self._sent += 1
            self._open.append(_Image(stamp_ns, self._sent))

    def receive(self, topic: str, stamp_ns: int) -> None:
        """Notes an answer."""
        with self._changed:
            for image in self._open:  # the oldest first, in case several share a stamp
                if image.stamp_ns == stamp_ns and topic in self._topics - image.heard:
                    image.heard.add(topic)
                    if image.heard == self._topics:
                        self._finish(image.number)
                    return

    def wait_for_room(self, most: int, timeout_s: float) -> bool:
        """Waits until fewer than ``most`` are in flight, and returns True; False after ``timeout_s`` seconds.

        Then those that are in flight are given up: the next ones have room.
        """
        end = time.monotonic() + timeout_s
        while self.count >= most:  # short waits, so that Ctrl-C gets through on every platform
            with self._changed:
                self._changed.wait_for(lambda: self._sent - self._done < most, timeout=0.1)
            if time.monotonic() > end and self.count >= most:
                with self._changed:
                    self._finish(self._sent)
                return False
        return True

    def _finish(self, number: int) -> None:
        self._done = max(self._done, number)
        self._open = [image for image in self._open if image.number > self._done]
        self._changed.notify_all()
