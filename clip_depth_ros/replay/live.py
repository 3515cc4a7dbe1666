"""A recording played over real DDS to a node in another process, and what the node answers."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from clip_depth_ros.replay.live_reports import NodeReports
from clip_depth_ros.replay.live_topics import COLOUR, DEPTH, RESULTS, Inputs
from clip_depth_ros.replay.live_topics import NAMESPACE as NAMESPACE  # for those who start the node
from clip_depth_ros.replay.live_window import InFlight
from clip_depth_ros.replay.measure import StreamTimes
from clip_depth_ros.replay.messages import BagMessage, header_stamp_ns, with_header_stamp
from clip_depth_ros.replay.node_process import NodeProcess
from clip_depth_ros.replay.player import BagPlayer
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.receiver import ResultReceiver, Spool

_REQUIRED = (DEPTH, COLOUR)
_WARM_UP_PERIOD_S = 0.25
_WARM_UP_STEP_NS = 100_000  # between the stamps of two images to warm up with
_WARM_UPS = 3  # answers to wait for: the first encodes of a process are slower than the rest
_PATIENCE = 6  # answers without points after which there will be none
_QUIET_S = 2.0  # after this long without an answer, the rest is taken for dropped; longer where answers take longer
_QUIET_LATENCIES = 3
_SILENCES = 3  # times in a row that images sent as fast as the node takes them are given up, until it counts as dead
_APART = 0.25  # of the shortest latency: between two images sent as fast as the node takes them
_REPORT_S = 10.0
_LAST_S = 0.1  # the cloud and the picture of the last image follow its depth
_POLL_S = 0.02
_SECOND_NS = 1_000_000_000


class LiveFailure(RuntimeError):
    """The node did not do its part; the message says what was seen and ends with the node's own last words."""


class LiveRun:
    """This process's side: plays the recording, receives the results, measures from outside the node.

    Args:
        reader: the recording.
        inputs: what of it is played.
        rate: 1 is the recorded pace; 0 as fast as publishing goes.
        domain_id: the DDS domain of this run alone.
        folder: where results are spooled.
        spool: takes the results instead of one in ``folder``; it is the caller's to close.
        topics: the node's topics to subscribe to, of :data:`RESULTS`, depth among them; None: all, or those that need
            no calibration where the recording has none.
        spools: asked with topic and stamp (nanoseconds) whether to spool an answer; None spools all.

    Attributes:
        times: when the images of the latest stream left and depth came back.
    """

    def __init__(
        self,
        reader: BagReader,
        inputs: Inputs,
        rate: float,
        domain_id: int,
        folder: Path,
        *,
        spool: Spool | None = None,
        topics: Iterable[str] | None = None,
        spools: Callable[[str, int], bool] | None = None,
    ) -> None:
        self._reader = reader
        self._inputs = inputs
        self.times = StreamTimes()
        self._before: list[StreamTimes] = []
        self._answering: tuple[str, ...] = (DEPTH,)
        self._in_flight = InFlight(self._answering)
        self._first_answer = float("nan")
        self._says_nothing = False
        remap = inputs.remap()
        asked = inputs.results if topics is None else tuple(topics)
        hoped_for = {topic: RESULTS[topic] for topic in asked}
        self._topics = tuple(hoped_for)
        self._required = tuple(topic for topic in _REQUIRED if topic in hoped_for)
        with ExitStack() as stack:
            self._spool = stack.enter_context(Spool(folder)) if spool is None else spool
            context = rclpy.Context()
            # Ctrl-C must reach this process as KeyboardInterrupt: the node is ended on the way out.
            rclpy.init(context=context, domain_id=domain_id, signal_handler_options=SignalHandlerOptions.NO)
            stack.callback(rclpy.try_shutdown, context=context)
            node = Node("clip_depth_demo", context=context)
            stack.callback(node.destroy_node)
            self._player = BagPlayer(node, reader, topics=remap, remap=remap, rate=rate)
            stack.callback(self._player.close)
            self._receiver = ResultReceiver(node, hoped_for, self._spool, self._on_result, spools)
            self._reports = NodeReports(node, remap[inputs.image])
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
    def counts(self) -> Mapping[str, int]:
        """How many messages came on each result topic."""
        return {topic: self._receiver.counts.get(topic, 0) for topic in self._topics}

    @property
    def diagnostics(self) -> Mapping[str, str]:
        """The last values of the node's own status on /diagnostics."""
        return self._reports.node

    @property
    def camera_remark(self) -> str:
        """What the node last said of the camera on /diagnostics, when something was wrong with it."""
        return self._reports.camera_remark

    @property
    def first_answer(self) -> float:
        """When the first depth of all came (``time.monotonic`` seconds); NaN before."""
        return self._first_answer

    @property
    def failure(self) -> OSError | None:
        """Why a result could not be spooled (the disk is full); None when all were."""
        return self._receiver.failure

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
            return process.running() and not self._reports.problem

        heard = self._player.wait_for_subscribers(timeout_s, [self._inputs.image], keep_waiting)
        opening = self._opening_messages() if heard else []
        sent_at, stamp = float("-inf"), header_stamp_ns(opening[-1].data) if opening else 0
        while not heard or not self._warmed_up():
            if not keep_waiting() or time.monotonic() - start > timeout_s:
                raise LiveFailure(self._explain(process, heard, timeout_s))
            if time.monotonic() - sent_at > _WARM_UP_PERIOD_S:
                sent_at = time.monotonic()
                stamp += _WARM_UP_STEP_NS
                self._sending(stamp)
                for message in opening:
                    self._player.publish(replace(message, data=with_header_stamp(message.data, stamp)))
            time.sleep(_POLL_S)
        self.settle(process)
        self._answering = tuple(topic for topic, count in self.counts.items() if count)
        self.restart(clear_spool=True)
        return time.monotonic() - start

    def restart(self, clear_spool: bool = False) -> None:
        """Forgets what was counted and measured; answers to images sent so far are ignored from now on."""
        self._before = [*self._before, self.times]
        self.times = StreamTimes()
        self._receiver.restart(clear_spool)

    def settle(self, process: NodeProcess) -> None:
        """Waits until the last image is answered; where that takes unusually long it is taken for dropped."""
        while self._in_flight.count and self.times.idle_s < self._quiet_s and process.running():
            time.sleep(_POLL_S)
        time.sleep(_LAST_S)

    def stream(
        self,
        process: NodeProcess,
        messages: Iterable[BagMessage] | None = None,
        rate: float | None = None,
        most_in_flight: int = 0,
        on_image: Callable[[], None] = lambda: None,
    ) -> None:
        """Plays messages and waits for the last answers, which :attr:`times` has then.

        Args:
            process: the node.
            messages: what to play; None: the whole recording.
            rate: the pace; None: this run's.
            most_in_flight: an image waits until fewer than so many are in the node or on the way; 0: it never waits.
            on_image: called before each image.

        Raises:
            LiveFailure: the node's process ended meanwhile, or nothing came back.
        """
        self._in_flight = InFlight(self._answering)
        gate = self._gate(process, most_in_flight) if most_in_flight else lambda: None

        def before_publish(message: BagMessage) -> None:
            if message.topic == self._inputs.image:
                self._check_runs(process)
                gate()
                on_image()
                self._sending(header_stamp_ns(message.data))

        self._player.play(before_publish, messages, rate)
        self.settle(process)
        self._check_runs(process)
        if self.times.missing and not self.times.answers:
            raise LiveFailure(f"The node answered none of {self.times.missing} images.\n{process.log_tail()}")

    def report(self, process: NodeProcess) -> Mapping[str, str] | None:
        """Waits for the next but one report of the camera on /diagnostics, which holds all that happened until now.

        Returns:
            Its values; None where none comes, and then at once from the next time on: that is the node's choice.
        """
        known, end = len(self._reports.cameras), time.monotonic() + _REPORT_S
        while len(self._reports.cameras) < known + 2:
            self._says_nothing |= time.monotonic() > end
            if self._says_nothing or not process.running():
                return None
            time.sleep(_POLL_S)
        return self._reports.cameras[-1]

    def _gate(self, process: NodeProcess, most_in_flight: int) -> Callable[[], None]:
        """Returns what waits until the node takes another image.

        The first image is answered alone. Two never leave at once: the second might reach the node before it has taken
        up the first, in whose place it would go.
        """
        silences, left_at = 0, float("-inf")

        def wait() -> None:
            nonlocal silences, left_at
            most = most_in_flight if self.times.answers else 1
            silences = 0 if self._in_flight.wait_for_room(most, self._quiet_s) else silences + 1
            if silences == _SILENCES:
                raise LiveFailure(f"The node does not answer any more.\n{process.log_tail()}")
            apart = _APART * self.times.fastest_s
            time.sleep(min(max(0.0, left_at + apart - time.monotonic()), apart))
            left_at = time.monotonic()

        return wait

    def _sending(self, stamp_ns: int) -> None:
        self._in_flight.send(stamp_ns)
        self.times.send(stamp_ns)

    @property
    def _quiet_s(self) -> float:
        return max(_QUIET_S, _QUIET_LATENCIES * self.times.slowest_s)

    def _check_runs(self, process: NodeProcess) -> None:
        if not process.running():
            raise LiveFailure(
                f"The node ended with code {process.exit_code} while images came in.\n{process.log_tail()}"
            )

    def _opening_messages(self) -> list[BagMessage]:
        """Returns the recording's first calibration and image, stamped before all of its messages."""
        topics = [topic for topic in (self._inputs.camera_info, self._inputs.image) if topic]
        found = [next(iter(self._reader.messages([topic]))) for topic in topics]
        first = header_stamp_ns(found[-1].data)
        stamp = first - _SECOND_NS if first > _SECOND_NS else first + 3600 * _SECOND_NS
        return [BagMessage(one.topic, one.type, one.time_ns, with_header_stamp(one.data, stamp)) for one in found]

    def _warmed_up(self) -> bool:
        counts = self.counts
        if min(counts.values()) >= _WARM_UPS:
            return True
        return min(counts[topic] for topic in self._required) >= _PATIENCE

    def _explain(self, process: NodeProcess, heard: bool, timeout_s: float) -> str:
        silent = ", ".join(topic for topic in self._required if self.counts[topic] < _WARM_UPS)
        if self._reports.problem:
            reason = f"The node cannot work: {self._reports.problem}"
        elif not process.running():
            reason = f"The node ended with code {process.exit_code} before it was ready."
        elif not heard:
            reason = f"The node subscribed to no image within {timeout_s:g} s: it is not active."
        else:
            reason = f"The node hears images, but too little came on {silent} within {timeout_s:g} s."
        return f"{reason}\nIts log ({process.log}) ends:\n{process.log_tail()}"

    def _on_result(self, topic: str, stamp_ns: int) -> bool:
        if not self.times.knows(stamp_ns) and any(times.knows(stamp_ns) for times in self._before):
            return False  # an answer that comes too late
        self._in_flight.receive(topic, stamp_ns)
        if topic == DEPTH:
            self.times.receive(stamp_ns)
            if math.isnan(self._first_answer):
                self._first_answer = time.monotonic()
        return True
