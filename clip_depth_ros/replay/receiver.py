"""Takes what a node publishes as raw bytes, notes when each arrived, and puts them aside at little cost."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from clip_depth_ros.replay.messages import BagMessage, header_stamp_ns
from clip_depth_ros.replay.player import message_class

_HISTORY = 20


class Spool:
    """Messages in the order they came, in an unnamed file: compressing them meanwhile would slow what is measured.

    Args:
        folder: where the file lies while it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by close)
        self._index: list[tuple[str, str, int, int]] = []

    def add(self, topic: str, message_type: str, time_ns: int, data: bytes) -> None:
        """Puts one message aside."""
        self._file.write(data)
        self._index.append((topic, message_type, time_ns, len(data)))

    def messages(self) -> Iterator[BagMessage]:
        """Yields what was put aside; nothing may be added meanwhile."""
        self._file.seek(0)
        for topic, message_type, time_ns, size in self._index:
            yield BagMessage(topic, message_type, time_ns, self._file.read(size))

    def clear(self) -> None:
        """Forgets everything."""
        self._index.clear()
        self._file.seek(0)
        self._file.truncate()

    def __len__(self) -> int:
        return len(self._index)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Removes the file."""
        self._file.close()


class ResultReceiver:
    """Subscribes to a node's results, raw and reliable, and spools them.

    Args:
        node: whose subscriptions they are; its executor calls them.
        topics: topic -> message type (``package/msg/Name``, first field a header).
        spool: takes the messages, with their arrival on the system clock (nanoseconds).
        on_stamp: called with topic and header stamp (nanoseconds) as soon as a message arrives. Where it returns False
            the message is neither counted nor spooled.
        spools: asked with topic and header stamp whether to spool a message that counts; None spools all.

    Attributes:
        failure: why a message could not be put aside (the disk is full), None when all were.
    """

    def __init__(
        self,
        node: Node,
        topics: Mapping[str, str],
        spool: Spool,
        on_stamp: Callable[[str, int], bool | None],
        spools: Callable[[str, int], bool] | None = None,
    ) -> None:
        self._spool = spool
        self._spools = spools
        self._on_stamp = on_stamp
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self.failure: OSError | None = None
        qos = QoSProfile(depth=_HISTORY, reliability=ReliabilityPolicy.RELIABLE)
        for topic, kind in topics.items():
            node.create_subscription(message_class(kind), topic, self._callback(topic, kind), qos, raw=True)

    @property
    def counts(self) -> dict[str, int]:
        """How many messages came on each topic since :meth:`restart`."""
        with self._lock:
            return dict(self._counts)

    def restart(self, clear_spool: bool = True) -> None:
        """Forgets how much came so far, and what was spooled, too, if asked to."""
        with self._lock:
            self._counts.clear()
            if clear_spool:
                self._spool.clear()

    def _callback(self, topic: str, kind: str) -> Callable[[bytes], None]:
        def receive(data: bytes) -> None:
            arrival_ns = time.time_ns()
            stamp_ns = header_stamp_ns(data)
            if self._on_stamp(topic, stamp_ns) is False:
                return
            with self._lock:
                self._counts[topic] += 1
                if self._spools is not None and not self._spools(topic, stamp_ns):
                    return
                try:
                    self._spool.add(topic, kind, arrival_ns, data)
                except OSError as error:  # raised here it would only end the executor's thread
                    self.failure = error

        return receive
