"""The other side of the node under test: cameras that send, and a subscriber that notes when which stamp came back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from clip_depth_ros.benchmark.weights import picture
from clip_depth_ros.replay.live import NAMESPACE, LiveFailure
from clip_depth_ros.replay.measure import StreamTimes
from clip_depth_ros.replay.messages import IMAGE, POINT_CLOUD, header_stamp_ns, with_header_stamp
from clip_depth_ros.replay.node_process import NodeProcess
from clip_depth_ros.replay.player import message_class
from clip_depth_ros.ros.images import colour_message

DEPTH = "depth/image"
TYPES = {DEPTH: IMAGE, "depth/image_color": IMAGE, "depth/points": POINT_CLOUD}
_HISTORY = 20
_WARM_UPS = 10  # answers to wait for: the first runs of a process are slower than the rest
_QUIET_S = 2.0  # after this long without an answer, the rest is taken for lost
_REPORT_S = 30.0
_POLL_S = 0.02


class Client:
    """Sends pictures for each camera and receives what the node makes of them, raw and reliably.

    Args:
        cameras: namespaces of the cameras below the node's; one empty name for a camera without.
        size: (height, width) pixels of the pictures.
        topics: those of :data:`TYPES` to subscribe to.
        domain_id: the DDS domain of this run.

    Attributes:
        times: by (camera, topic), when images left and answers came, since the last :meth:`restart`.
        first: by (camera, topic), when the first answer of all came (``time.monotonic`` seconds).
        reports: every report of the node's diagnostics: when it came, and by camera (or ``node``) its values.
    """

    def __init__(self, cameras: Sequence[str], size: tuple[int, int], topics: Iterable[str], domain_id: int) -> None:
        self.cameras = tuple(cameras)
        self.topics = tuple(topics)
        self.first: dict[tuple[str, str], float] = {}
        self.reports: list[tuple[float, dict[str, dict[str, str]]]] = []
        self._problem = ""
        self._inputs: dict[str, tuple[Publisher, Publisher]] = {}
        self._info, self._image = _messages(size)
        self.restart()
        with ExitStack() as stack:
            context = rclpy.Context()
            # Ctrl-C must reach this process as KeyboardInterrupt: the node is ended on the way out.
            rclpy.init(context=context, domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
            stack.callback(rclpy.try_shutdown, context=context)
            self._node = Node("clip_depth_benchmark", context=context)
            stack.callback(self._node.destroy_node)
            self._open()
            executor = SingleThreadedExecutor(context=context)
            executor.add_node(self._node)
            thread = threading.Thread(target=executor.spin, name="receive", daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(executor.shutdown)
            self._closing = stack.pop_all()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def _open(self) -> None:
        qos = QoSProfile(depth=_HISTORY, reliability=ReliabilityPolicy.RELIABLE)
        for camera in self.cameras:
            prefix = f"{NAMESPACE}/{camera}/" if camera else f"{NAMESPACE}/"
            self._inputs[camera] = (
                self._node.create_publisher(CameraInfo, f"{prefix}camera_info", qos),
                self._node.create_publisher(Image, f"{prefix}image", qos),
            )
            for topic in self.topics:
                kind, receive = message_class(TYPES[topic]), self._receiver(camera, topic)
                # Raw: what decoding costs would be taken from the node on a small machine.
                self._node.create_subscription(kind, prefix + topic, receive, qos, raw=True)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _receiver(self, camera: str, topic: str) -> Callable[[bytes], None]:
        key = (camera, topic)

        def receive(data: bytes) -> None:
            self.times[key].receive(header_stamp_ns(data))
            self.first.setdefault(key, time.monotonic())

        return receive

    def restart(self) -> None:
        """Forgets what was sent and received so far, but not what came first."""
        self.times = {(camera, topic): StreamTimes() for camera in self.cameras for topic in self.topics}

    @property
    def heard(self) -> bool:
        """Whether the node listens to every camera."""
        return all(publisher.get_subscription_count() for pair in self._inputs.values() for publisher in pair)

    def send(self) -> None:
        """Sends one picture and its calibration for each camera, all with the same stamp."""
        stamp = time.time_ns()
        info, image = with_header_stamp(self._info, stamp), with_header_stamp(self._image, stamp)
        for camera, (infos, images) in self._inputs.items():
            for topic in self.topics:
                self.times[camera, topic].send(stamp)
            infos.publish(info)
            images.publish(image)

    def stream(self, frames: int, rate: float, process: NodeProcess) -> None:
        """Sends ``frames`` pictures of each camera at ``rate`` Hz and waits for the last answers.

        Raises:
            LiveFailure: the node ended meanwhile.
        """
        start = time.monotonic()
        for index in range(frames):
            time.sleep(max(0.0, start + index / rate - time.monotonic()))
            self.send()
            self._check(process)
        while any(times.missing and times.idle_s < _QUIET_S for times in self.times.values()):
            time.sleep(_POLL_S)
        self._check(process)

    def wait_until_ready(self, process: NodeProcess, rate: float, timeout_s: float) -> None:
        """Waits until the node listens and has answered some pictures on every topic; then forgets those.

        Raises:
            LiveFailure: the node ended, said that it cannot work, or took too long.
        """
        end = time.monotonic() + timeout_s
        while not self.heard or self._answered() < _WARM_UPS:
            self._check(process)
            if time.monotonic() > end:
                told = "answered too little" if self.heard else "listened to no image"
                raise LiveFailure(f"The node {told} within {timeout_s:g} s.\n{process.log_tail()}")
            if self.heard:
                self.send()
            time.sleep(1 / rate)
        while any(times.missing and times.idle_s < _QUIET_S for times in self.times.values()):
            time.sleep(_POLL_S)
        self.restart()

    def report(self, process: NodeProcess) -> dict[str, dict[str, str]]:
        """Waits for the node's next but one report, which holds all that happened until now; returns it.

        Raises:
            LiveFailure: none came.
        """
        known, end = len(self.reports), time.monotonic() + _REPORT_S
        while len(self.reports) < known + 2:
            self._check(process)
            if time.monotonic() > end:
                raise LiveFailure(f"No diagnostics came within {_REPORT_S:g} s.\n{process.log_tail()}")
            time.sleep(_POLL_S)
        return self.reports[-1][1]

    def _answered(self) -> int:
        return min(len(times.answers) for times in self.times.values())

    def _check(self, process: NodeProcess) -> None:
        if self._problem:
            raise LiveFailure(f"The node cannot work: {self._problem}\n{process.log_tail()}")
        if not process.running():
            raise LiveFailure(f"The node ended with code {process.exit_code}.\n{process.log_tail()}")

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        found: dict[str, dict[str, str]] = {}
        for status in message.status:
            part = status.name.partition(": ")[2]
            found[part.removeprefix("camera").strip()] = {item.key: item.value for item in status.values}
            if part == "node":
                self._problem = status.message if status.level == DiagnosticStatus.ERROR else ""
        self.reports.append((time.monotonic(), found))


def _messages(size: tuple[int, int]) -> tuple[bytes, bytes]:
    """Returns a calibration and a picture, serialised; their stamps are filled in as they leave."""
    height, width = size
    header = Header(frame_id="camera")
    focal = 0.8 * width
    info = CameraInfo(header=header, width=width, height=height, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, width / 2, 0.0, 0.0, focal, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    return serialize_message(info), serialize_message(colour_message(header, picture(size)))


def counted(before: Mapping[str, str], after: Mapping[str, str], name: str) -> int:
    """Returns by how much a counter rose between two reports of one camera."""
    return int(after[name]) - int(before.get(name, "0"))
