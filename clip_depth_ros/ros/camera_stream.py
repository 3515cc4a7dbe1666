"""One camera's input: its subscriptions and the newest image that nobody has taken yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from clip_depth_ros.ros.calibration import CalibrationKeeper
from clip_depth_ros.ros.counters import StreamCounters
from clip_depth_ros.ros.parameters import Settings
from clip_depth_ros.ros.topics import subscribe


@dataclass(frozen=True)
class Frame:
    """An image message and when its callback was entered (``time.perf_counter`` seconds)."""

    message: Image | CompressedImage
    entered: float


class CameraStream:
    """Subscribes to a camera; callbacks only keep the newest image, so that nothing waits in a queue.

    Callbacks run in the executor's thread; :meth:`take` is called by the worker's.

    Attributes:
        name: the camera's namespace, empty for the one camera that has none.
        image_topic: full name of the image topic.
        type_name: ROS name of the message type listened for there.
        info_topic: full name of the camera_info topic.
        calibration: keeps the latest camera_info.
        counters: what is counted.
        image_size: width and height of the last image read, in pixels; None before the first.
        mismatches: sentences about publishers that can never be heard, newest last.
        opened: when it began to listen (``time.monotonic`` seconds).
    """

    def __init__(
        self, node: LifecycleNode, name: str, settings: Callable[[], Settings], pending: threading.Event
    ) -> None:
        """Prepares the stream; :meth:`open` starts it.

        Args:
            node: the node that subscribes.
            name: the camera's namespace.
            settings: returns the settings in force.
            pending: set whenever an image waits to be taken.
        """
        self._node = node
        self._settings = settings
        self._pending = pending
        self._lock = threading.Lock()
        self._newest: Frame | None = None
        self._next_due = 0.0
        self._last_stamp = (0, 0)
        self._subscriptions: list[Subscription] = []
        self.name = name
        prefix = f"{name}/" if name else ""
        self._compressed = settings().image_transport == "compressed"
        # A remapping of image moves image/compressed along, as with image_transport.
        self.image_topic = node.resolve_topic_name(f"{prefix}image") + ("/compressed" if self._compressed else "")
        self.type_name = f"sensor_msgs/msg/{'CompressedImage' if self._compressed else 'Image'}"
        self.info_topic = node.resolve_topic_name(f"{prefix}camera_info")
        self.calibration = CalibrationKeeper(self.info_topic)
        self.counters = StreamCounters()
        self.image_size: tuple[int, int] | None = None
        self.mismatches: list[str] = []
        self.opened = time.monotonic()

    def open(self) -> None:
        """Starts to listen.

        Raises:
            BadInput: a topic's ``qos_overrides`` parameters make no quality of service.
        """
        kind = CompressedImage if self._compressed else Image
        self.opened = time.monotonic()
        for message, topic, callback in (
            (CameraInfo, self.info_topic, self.calibration.update),
            (kind, self.image_topic, self._on_image),
        ):
            self._subscriptions.append(subscribe(self._node, message, topic, callback, self._on_mismatch))

    def close(self) -> None:
        """Stops listening and forgets the image that waits."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self.take()

    def take(self) -> Frame | None:
        """Returns the newest image not taken yet, or None."""
        with self._lock:
            frame, self._newest = self._newest, None
        return frame

    def _on_image(self, message: Image | CompressedImage) -> None:
        entered = time.perf_counter()
        self.counters.received.count()
        self._check_stamp(message)
        if not self._is_due(entered):
            self.counters.limited += 1
            return
        with self._lock:
            replaced = self._newest is not None
            self._newest = Frame(message, entered)
        if replaced:
            self.counters.dropped += 1
        self._pending.set()

    def _check_stamp(self, message: Image | CompressedImage) -> None:
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        if stamp == (0, 0):
            self.counters.zero_stamps += 1
            return
        if stamp < self._last_stamp:
            self.counters.backward_stamps += 1
        self._last_stamp = stamp

    def _is_due(self, now: float) -> bool:
        """Keeps to ``max_rate`` on average: an image that comes late does not put off those after it."""
        rate = self._settings().max_rate_of(self.name)
        if rate == 0:
            return True
        interval = 1.0 / rate
        if now < self._next_due <= now + interval:  # what is due later than that was put off by an older, lower limit
            return False
        on_schedule = now - self._next_due < interval
        self._next_due = (self._next_due if on_schedule else now) + interval
        return True

    def _on_mismatch(self, sentence: str) -> None:
        self.mismatches = [*self.mismatches[-4:], sentence]
        self._node.get_logger().warning(f"No data will be received: {sentence}.")
