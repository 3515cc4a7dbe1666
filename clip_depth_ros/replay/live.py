"""A recording played over real DDS to a node in another process, and what the node answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from clip_depth_ros.errors import BadInput
from clip_depth_ros.progress import progress_bar
from clip_depth_ros.replay.measure import StreamMeasurement, StreamTimes
from clip_depth_ros.replay.messages import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    POINT_CLOUD,
    BagMessage,
    header_stamp_ns,
    with_header_stamp,
)
from clip_depth_ros.replay.node_process import NodeProcess
from clip_depth_ros.replay.player import BagPlayer
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.receiver import ResultReceiver, Spool

NAMESPACE = "/camera"
DEPTH, COLOUR, POINTS, DEPTH_CAMERA_INFO = (
    f"{NAMESPACE}/depth/{name}" for name in ("image", "image_color", "points", "camera_info")
)
_RESULTS = {DEPTH: IMAGE, COLOUR: IMAGE, POINTS: POINT_CLOUD, DEPTH_CAMERA_INFO: CAMERA_INFO}
_REQUIRED = (DEPTH, COLOUR)
_WARM_UP_PERIOD_S = 0.5
_WARM_UPS = 3  # answers to wait for: the first encodes of a process are slower than the rest
_PATIENCE = 6  # answers without points after which there will be none
_QUIET_S = 2.0  # after this long without an answer, the rest is taken for dropped
_POLL_S = 0.02
_SECOND_NS = 1_000_000_000


class LiveFailure(RuntimeError):
    """The node did not do its part; the message says what was seen and ends with the node's own last words."""


@dataclass(frozen=True)
class Inputs:
    """The topics of the recording that are played: images, and their calibration where there is one."""

    image: str
    image_type: str
    camera_info: str = ""

    @property
    def compressed(self) -> bool:
        """Whether the images are compressed."""
        return self.image_type == COMPRESSED_IMAGE

    def remap(self) -> dict[str, str]:
        """Returns recorded topic -> the node's topic."""
        topics = {self.image: f"{NAMESPACE}/image" + ("/compressed" if self.compressed else "")}
        if self.camera_info:
            topics[self.camera_info] = f"{NAMESPACE}/camera_info"
        return topics


class LiveRun:
    """This process's side: plays the recording, receives the results, measures from outside the node.

    Args:
        reader: the recording.
        inputs: what of it is played.
        rate: 1 is the recorded pace; 0 as fast as publishing goes.
        domain_id: the DDS domain of this run alone.
        folder: where results are spooled.
    """

    def __init__(self, reader: BagReader, inputs: Inputs, rate: float, domain_id: int, folder: Path) -> None:
        self._reader = reader
        self._inputs = inputs
        self._folder = folder
        self._times = StreamTimes()
        self._diagnostics: dict[str, str] = {}
        self._problem = ""
        self._camera_remark = ""
        remap = inputs.remap()
        hoped_for = _RESULTS if inputs.camera_info else {topic: _RESULTS[topic] for topic in _REQUIRED}
        self._topics = tuple(hoped_for)
        with ExitStack() as stack:
            self._spool = Spool(folder)
            stack.callback(self._spool.close)
            context = rclpy.Context()
            # Ctrl-C must reach this process as KeyboardInterrupt: the node is ended on the way out.
            rclpy.init(context=context, domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
            stack.callback(rclpy.try_shutdown, context=context)
            node = Node("clip_depth_demo", context=context)
            stack.callback(node.destroy_node)
            self._player = BagPlayer(node, reader, topics=remap, remap=remap, rate=rate)
            stack.callback(self._player.close)
            self._receiver = ResultReceiver(node, hoped_for, self._spool, self._on_result)
            node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
            executor = SingleThreadedExecutor(context=context)
            executor.add_node(node)
            thread = threading.Thread(target=executor.spin, name="receive", daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(executor.shutdown)
            self._closing = stack.pop_all()

    def __enter__(self) -> LiveRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._player.stop()
        self._closing.close()

    @property
    def results(self) -> Spool:
        """What the node answered while the recording was played."""
        return self._spool

    @property
    def counts(self) -> Mapping[str, int]:
        """How many messages came on each result topic."""
        return {topic: self._receiver.counts.get(topic, 0) for topic in self._topics}

    @property
    def diagnostics(self) -> Mapping[str, str]:
        """The last values of the node's own status on /diagnostics."""
        return self._diagnostics

    @property
    def camera_remark(self) -> str:
        """What the node last said of the camera on /diagnostics, when something was wrong with it."""
        return self._camera_remark

    def wait_until_ready(self, process: NodeProcess, timeout_s: float) -> float:
        """Waits until the node is active, hears images, and answers a few on every result topic.

        Those images are the recording's first with a stamp of their own, and count nowhere. Points are waited for as
        long as depth has come a few times without them: a calibration that cannot be used gives none.

        Returns:
            Seconds it took.

        Raises:
            LiveFailure: the process ended, said that it cannot work, or did not answer in time.
        """
        start = time.monotonic()

        def keep_waiting() -> bool:
            return process.running() and not self._problem

        heard = self._player.wait_for_subscribers(timeout_s, [self._inputs.image], keep_waiting)
        opening = self._opening_messages() if heard else []
        sent_at = float("-inf")
        while not heard or not self._warmed_up():
            if not keep_waiting() or time.monotonic() - start > timeout_s:
                raise LiveFailure(self._explain(process, heard, timeout_s))
            if time.monotonic() - sent_at > _WARM_UP_PERIOD_S:
                sent_at = time.monotonic()
                for message in opening:
                    self._player.publish(message)
            time.sleep(_POLL_S)
        time.sleep(_WARM_UP_PERIOD_S)  # late answers to the last of them
        self._receiver.restart()
        self._times = StreamTimes()
        return time.monotonic() - start

    def play(self, process: NodeProcess) -> StreamMeasurement:
        """Plays the recording once, waits for the last answers, and returns what was measured of images and depth.

        Raises:
            LiveFailure: the node's process ended meanwhile, or nothing came back.
            BadInput: the disk is full.
        """
        total = self._reader.topics[self._inputs.image].count
        with progress_bar() as bar:
            task = bar.add_task("playing the recording", total=total)

            def before_publish(message: BagMessage) -> None:
                if message.topic == self._inputs.image:
                    self._times.send(header_stamp_ns(message.data))
                    bar.advance(task)

            self._player.play(before_publish)
        while self._times.missing and self._times.idle_s < _QUIET_S and process.running():
            time.sleep(_POLL_S)
        time.sleep(0.1)  # the cloud and the picture of the last image follow its depth
        if not process.running():
            raise LiveFailure(
                f"The node ended with code {process.exit_code} while images came in.\n{process.log_tail()}"
            )
        measured = self._times.measured()
        if not measured.received:
            raise LiveFailure(f"The node answered none of {measured.sent} images.\n{process.log_tail()}")
        if self._receiver.failure:
            raise BadInput(f"The results cannot be kept in {self._folder} ({self._receiver.failure.strerror}).")
        return measured

    def _opening_messages(self) -> list[BagMessage]:
        """Returns the recording's first calibration and image, stamped with a time that is in none of its messages."""
        topics = [topic for topic in (self._inputs.camera_info, self._inputs.image) if topic]
        found = [next(iter(self._reader.messages([topic]))) for topic in topics]
        first = header_stamp_ns(found[-1].data)
        stamp = first - _SECOND_NS if first > _SECOND_NS else first + 3600 * _SECOND_NS
        return [BagMessage(one.topic, one.type, one.time_ns, with_header_stamp(one.data, stamp)) for one in found]

    def _warmed_up(self) -> bool:
        counts = self.counts
        if min(counts.values()) >= _WARM_UPS:
            return True
        return min(counts[topic] for topic in _REQUIRED) >= _PATIENCE

    def _explain(self, process: NodeProcess, heard: bool, timeout_s: float) -> str:
        silent = ", ".join(topic for topic in _REQUIRED if self.counts[topic] < _WARM_UPS)
        if self._problem:
            reason = f"The node cannot work: {self._problem}"
        elif not process.running():
            reason = f"The node ended with code {process.exit_code} before it was ready."
        elif not heard:
            reason = f"The node subscribed to no image within {timeout_s:g} s: it is not active."
        else:
            reason = f"The node hears images, but too little came on {silent} within {timeout_s:g} s."
        return f"{reason}\nIts log ({process.log}) ends:\n{process.log_tail()}"

    def _on_result(self, topic: str, stamp_ns: int) -> None:
        if topic == DEPTH:
            self._times.receive(stamp_ns)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(": node"):
                self._diagnostics = {item.key: item.value for item in status.values}
                self._problem = status.message if status.level == DiagnosticStatus.ERROR else ""
            elif status.level in (DiagnosticStatus.WARN, DiagnosticStatus.ERROR):
                self._camera_remark = status.message
