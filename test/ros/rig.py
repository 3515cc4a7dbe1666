"""A depth node in this process, and beside it a node that plays camera and consumer over real DDS."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from image_messages import make_image
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image

from clip_depth_ros.ros.depth_node import DepthNode

WAIT = 60.0  # seconds until something that should happen counts as not happening


def remove(node: DepthNode) -> None:
    """Destroys a depth node; rclpy's state machine would keep it in the ROS graph until Python collects it."""
    node.close()
    node.destroy_node()
    del node._state_machine


class Peer:
    """Publishes images and keeps everything it hears, by topic.

    Attributes:
        node: the rclpy node.
        heard: the messages of each topic, oldest first.
    """

    def __init__(self, context: Context, *others: Node) -> None:
        """``others`` are nodes of this process to spin along."""
        self.node = rclpy.create_node("peer", context=context, use_global_arguments=False)
        self.heard: dict[str, list[Any]] = defaultdict(list)
        self._publishers: dict[str, Publisher] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._executor = SingleThreadedExecutor(context=context)
        for node in (self.node, *others):
            self._executor.add_node(node)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()

    def listen(self, kind: type, *topics: str) -> None:
        """Subscribes where it does not yet, and waits until a publisher is matched."""
        for topic in topics:
            if topic not in self._subscriptions:
                keep = self.heard[topic].append
                self._subscriptions[topic] = self.node.create_subscription(kind, topic, keep, QoSProfile(depth=10))
        for topic in topics:
            self.until(lambda topic=topic: self.node.count_publishers(topic) > 0)

    def forget(self) -> None:
        """Ends all subscriptions and forgets what was heard."""
        for subscription in self._subscriptions.values():
            self.node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self.heard.clear()

    def publisher(self, kind: type, topic: str, reliable: bool = True) -> Publisher:
        """Returns a publisher of ``topic``, matched by a subscriber."""
        if topic not in self._publishers:
            reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
            publisher = self.node.create_publisher(kind, topic, QoSProfile(depth=5, reliability=reliability))
            self._publishers[topic] = publisher
            self.until(lambda: publisher.get_subscription_count() > 0)
        return self._publishers[topic]

    def send(self, topic: str, *messages: Any) -> None:
        """Publishes messages, in their order."""
        for message in messages:
            self.publisher(type(message), topic).publish(message)

    def until(self, condition: Callable[[], Any], seconds: float = WAIT) -> Any:
        """Spins until ``condition`` returns something true, and returns that; fails after ``seconds``."""
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, f"waited {seconds} s in vain"
            self._executor.spin_once(timeout_sec=0.02)
        return result

    def settle(self, seconds: float = 0.3) -> None:
        """Spins for a while, to see that nothing more comes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.02)

    def answer(self, topic: str, count: int = 1) -> Any:
        """Waits until ``count`` messages were heard on ``topic`` and returns the last of them."""
        self.until(lambda: len(self.heard[topic]) >= count)
        return self.heard[topic][count - 1]

    def status(self, name: str, condition: Callable[[dict[str, str], DiagnosticStatus], Any]) -> dict[str, str]:
        """Waits until the diagnostics of ``name`` fulfil ``condition`` and returns their values."""
        self.listen(DiagnosticArray, "/diagnostics")

        def look() -> dict[str, str]:
            status, values = self._status(name), self.values(name)
            return values if status is not None and condition(values, status) else {}

        found: dict[str, str] = self.until(look)
        return found

    def values(self, name: str) -> dict[str, str]:
        """The values and the message in the last diagnostics of ``name``; empty before the first."""
        status = self._status(name)
        return {**{pair.key: pair.value for pair in status.values}, "message": status.message} if status else {}

    def _status(self, name: str) -> DiagnosticStatus | None:
        found = [item for array in self.heard["/diagnostics"][-1:] for item in array.status]
        return next((item for item in found if item.name == f"clip_depth: {name}"), None)


class Rig(Peer):
    """A configured, active depth node and its peer.

    Attributes:
        depth_node: the node under test.
        encodes: how many pictures each run of the encoder had.
    """

    def __init__(self, context: Context, network: str, **parameters: Any) -> None:
        """``network`` is a file of weights, ``parameters`` are the node's, with ``__`` for a dot."""
        values = {"weights": [network], "device": "cpu", "diagnostics.period": 0.1}
        values.update({name.replace("__", "."): value for name, value in parameters.items()})
        self.depth_node = DepthNode(
            context=context,
            use_global_arguments=False,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        super().__init__(context, self.depth_node)
        self.encodes: list[int] = []
        self.depth_node.autostart()
        if self.depth_node.pipeline is not None:
            encoder = self.depth_node.pipeline.network.estimator.encoder
            encoder.register_forward_hook(lambda module, inputs, output: self.encodes.append(len(inputs[0])))

    def close(self) -> None:
        self.depth_node.close()
        super().close()
        remove(self.depth_node)

    @property
    def pipeline(self) -> Any:
        """The configured pipeline."""
        assert self.depth_node.pipeline is not None
        return self.depth_node.pipeline

    def send_at_once(self, images: Mapping[str, Image]) -> None:
        """Sends each camera's image, in this order, while the worker rests: they are one batch."""
        self.pipeline._worker.stop()
        counters = {camera.stream.name: camera.stream.counters for camera in self.pipeline.cameras}
        for name, message in images.items():
            before = counters[name].received.total
            self.send(f"{name}/image", message)
            self.until(lambda name=name, before=before: counters[name].received.total > before)
        self.pipeline._worker.start()

    def set(self, **parameters: Any) -> list[str]:
        """Sets parameters (``__`` for a dot) in one request each; returns the reasons of those rejected."""
        changes = [Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()]
        return [result.reason for result in self.depth_node.set_parameters(changes) if not result.successful]


def picture(width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """Returns a random RGB picture, smooth enough that neighbouring pixels look alike."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def image(
    seconds: int = 1, frame: str = "camera", width: int = 64, height: int = 48, seed: int = 0, nanoseconds: int = 7
) -> Image:
    """Returns a good rgb8 image message."""
    return stamped(make_image("rgb8", picture(width, height, seed)), seconds, frame, nanoseconds)


def stamped(message: Any, seconds: int, frame: str = "camera", nanoseconds: int = 7) -> Any:
    """Returns ``message`` with a stamp and a frame."""
    message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
    message.header.frame_id = frame
    return message


def camera_info(width: int = 64, height: int = 48, focal: float = 50.0, frame: str = "camera") -> CameraInfo:
    """Returns the camera_info of a pinhole camera without distortion."""
    message = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    message.k = [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return stamped(message, 1, frame)


def depth_array(message: Image) -> np.ndarray:
    """Returns a published 32FC1 or 16UC1 image as an array ``(H, W)``."""
    kind = {"32FC1": np.float32, "16UC1": np.uint16}[message.encoding]
    return np.frombuffer(message.data, kind).reshape(message.height, message.width)


def stamp_of(message: Any) -> tuple[int, int, str]:
    """Returns seconds, nanoseconds and frame of a message."""
    return message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id
