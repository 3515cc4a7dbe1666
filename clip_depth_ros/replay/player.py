"""Plays a bag's messages on ROS topics at the pace they were recorded. Their bytes are published as they are."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.messages import BagMessage, TopicInfo, header_stamp_ns
from clip_depth_ros.replay.reader import BagReader

PACES = ("receive", "header")
_HISTORY = 10  # messages a slow reliable subscriber may lag behind before the oldest is lost to it
_POLL_S = 0.02


def message_class(name: str) -> Any:
    """Returns the Python class of a message type such as ``sensor_msgs/msg/Image``.

    Raises:
        BadInput: the package that defines it is not installed.
    """
    package, _, last = name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), last)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadInput(f"The message type {name} is not installed here: install the ROS package {package}.") from error


class BagPlayer:
    """Publishes a bag with reliable QoS.

    Args:
        node: whose publishers they are; its executor need not spin.
        reader: the bag.
        topics: what to play; None plays every topic whose type is installed, and notes the others in :attr:`skipped`.
        remap: topic in the bag -> topic to publish on; relative names are in the node's namespace.
        rate: 1 is the recorded pace, 2 twice as fast; 0 is as fast as publishing goes.
        pace: what the recorded pace is: ``receive`` times or ``header`` stamps. Messages keep the order of their
            receive times; one whose stamp goes backwards, or that has none, does not wait.

    Raises:
        BadInput: a topic is not in the bag or its type is not installed, nothing is left to play, or ``rate`` or
            ``pace`` is out of range.
    """

    def __init__(
        self,
        node: Node,
        reader: BagReader,
        *,
        topics: Iterable[str] | None = None,
        remap: Mapping[str, str] | None = None,
        rate: float = 1.0,
        pace: str = "receive",
    ) -> None:
        if not 0.0 <= rate < float("inf"):
            raise BadInput(f"The replay rate is {rate}: give 1 for the recorded pace, or 0 for as fast as it goes.")
        if pace not in PACES:
            raise BadInput(f"The pace is {pace!r}: give {' or '.join(PACES)}.")
        self._node = node
        self._reader = reader
        self._rate = rate
        self._by_header = pace == "header"
        self._stop = threading.Event()
        self.skipped: list[str] = []
        self._publishers: dict[str, Publisher] = {}
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=_HISTORY, reliability=ReliabilityPolicy.RELIABLE)
        self._stamped: set[str] = set()
        for topic, kind in self._playable(topics):
            if next(iter(kind.get_fields_and_field_types().values()), "") == "std_msgs/Header":
                self._stamped.add(topic)
            self._publishers[topic] = node.create_publisher(kind, (remap or {}).get(topic, topic), qos)

    @property
    def topics(self) -> tuple[str, ...]:
        """The bag's topics that are played."""
        return tuple(self._publishers)

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    def wait_for_subscribers(
        self, timeout_s: float, topics: Iterable[str] | None = None, keep_waiting: Callable[[], bool] | None = None
    ) -> bool:
        """Waits until every one of ``topics`` (None: any one that is played) has a subscriber that will hear it.

        Args:
            timeout_s: seconds to wait at most.
            topics: the bag's topics that must be heard.
            keep_waiting: asked now and then; when it returns False the wait is over.

        Returns:
            Whether they are heard.
        """
        deadline = time.monotonic() + timeout_s
        while not self._heard(topics):
            if time.monotonic() > deadline or self._stop.is_set() or (keep_waiting and not keep_waiting()):
                return False
            self._stop.wait(_POLL_S)
        return True

    def publish(self, message: BagMessage) -> None:
        """Publishes one message now."""
        self._publishers[message.topic].publish(message.data)

    def play(
        self,
        before_publish: Callable[[BagMessage], None] | None = None,
        messages: Iterable[BagMessage] | None = None,
        rate: float | None = None,
    ) -> int:
        """Plays the bag once, from its first message to its last or to :meth:`stop`.

        When publishing falls behind the pace nothing is skipped: the rest follows as fast as it goes until it has
        caught up.

        Args:
            before_publish: called with each message just before it is published, for measuring.
            messages: what to play instead of the whole bag: messages of its played topics, taken one by one as they
                are due.
            rate: the pace of this time; None keeps the player's.

        Returns:
            How many messages were published.
        """
        count = 0
        origin: tuple[float, int] | None = None
        pace = self._rate if rate is None else rate
        for message in self._reader.messages(self._publishers) if messages is None else messages:
            recorded = self._recorded(message) if pace > 0.0 else None
            if recorded is not None:
                if origin is None:
                    origin = (time.monotonic(), recorded)
                due = origin[0] + (recorded - origin[1]) / 1e9 / pace
                self._stop.wait(max(0.0, due - time.monotonic()))
            if self._stop.is_set():
                break
            if before_publish:
                before_publish(message)
            self.publish(message)
            count += 1
        return count

    def stop(self) -> None:
        """Ends :meth:`play` and :meth:`wait_for_subscribers` soon; may be called from another thread."""
        self._stop.set()

    def close(self) -> None:
        """Removes the publishers."""
        self.stop()
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()

    def _recorded(self, message: BagMessage) -> int | None:
        """Returns when the message was recorded (nanoseconds), None when it carries no such time."""
        if not self._by_header:
            return message.time_ns
        return header_stamp_ns(message.data) if message.topic in self._stamped else None

    def _heard(self, topics: Iterable[str] | None) -> bool:
        if topics is None:
            return any(publisher.get_subscription_count() for publisher in self._publishers.values())
        return all(self._publishers[topic].get_subscription_count() for topic in topics)

    def _playable(self, topics: Iterable[str] | None) -> list[tuple[str, Any]]:
        available = self._reader.topics
        if topics is None:
            return self._installed(available.values())
        wanted = list(topics)
        absent = [topic for topic in wanted if topic not in available]
        if absent:
            raise BadInput(f"{self._reader.path} has no topic {absent[0]}: its topics are {', '.join(available)}.")
        return [(topic, message_class(available[topic].type)) for topic in wanted]

    def _installed(self, topics: Iterable[TopicInfo]) -> list[tuple[str, Any]]:
        found = []
        for topic in topics:
            try:
                found.append((topic.name, message_class(topic.type)))
            except BadInput:
                self.skipped.append(f"{topic.name} ({topic.type})")
        if not found:
            raise BadInput(f"Nothing in {self._reader.path} can be played: no message type in it is installed here.")
        return found
