"""A recording played live to a node in another process at several rates, measured from outside, up to its highest."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clip_depth_ros.errors import BadInput
from clip_depth_ros.progress import progress_bar
from clip_depth_ros.replay.live import DEPTH, Inputs, LiveFailure, LiveRun
from clip_depth_ros.replay.live_search import find_highest_rate
from clip_depth_ros.replay.live_source import Excerpt, LoopedBag, evenly
from clip_depth_ros.replay.live_values import run_values
from clip_depth_ros.replay.node_process import NodeProcess
from clip_depth_ros.replay.page.plain import plain
from clip_depth_ros.replay.process_load import ProcessLoad
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.receiver import Spool

_KEPT_UP = 0.97  # share of the offered rate that must have been sent for a rate to count as offered


@dataclass(frozen=True)
class LiveOptions:
    """How long, and with what, a live run measures.

    Attributes:
        seconds, images: each rate is played until both have passed; the first one also until the recording has been
            played once. Short recordings begin again, with later stamps.
        most_seconds: no rate is played longer.
        timeout_s: within this time the node must load its weights and answer.
        most_in_flight: at rate 0, images in the node and on the way: one is worked on, the others wait.
        topics: the node's topics to subscribe to, of ``live.RESULTS``, depth among them; None: all it can give.
        keeps: those whose messages go to the spool.
        search: whether to look for the highest rate without a drop.
        search_seconds, search_images: each rate that is tried is played until both have passed.
        search_budget_s: no other rate is tried after this time.
    """

    seconds: float = 20.0
    images: int = 60
    most_seconds: float = 120.0
    timeout_s: float = 120.0
    most_in_flight: int = 2
    topics: tuple[str, ...] | None = None
    keeps: tuple[str, ...] = (DEPTH,)
    search: bool = True
    search_seconds: float = 5.0
    search_images: int = 30
    search_budget_s: float = 90.0


class LiveStopped(Exception):
    """A live benchmark ended early; the message says why.

    Attributes:
        live: what was measured until then.
        by_user: whether it was Ctrl-C, not a failure.
    """

    def __init__(self, reason: str, live: dict[str, Any], by_user: bool) -> None:
        super().__init__(reason)
        self.live = live
        self.by_user = by_user


def measure_live(
    reader: BagReader,
    inputs: Inputs,
    command: Sequence[str],
    environment: Mapping[str, str],
    rates: Sequence[float],
    *,
    log: Path,
    results: Spool | None = None,
    options: LiveOptions | None = None,
) -> dict[str, Any]:
    """Starts the node once, plays the recording to it at each rate, and looks for the highest without a drop.

    Runs in the main thread: Ctrl-C ends it, and with it the node.

    Args:
        reader: the recording.
        inputs: what of it is played.
        command: what starts the node, with its topics in the namespace ``live.NAMESPACE``.
        environment: the node's whole environment, with ``ROS_DOMAIN_ID``; what of it is for ROS and Fast DDS holds
            for this process meanwhile.
        rates: 1 is the recorded pace; 0 as fast as the node takes images: a few are in flight at any time.
        log: file that takes the node's output.
        results: takes what the node answered at the first rate to the recording's first pass, which has its stamps.
        options: how long each takes.

    Returns:
        The ``live`` part of report.json: plain values, None where there is none; ``node`` is what the node last said of
        itself on /diagnostics, empty where it says nothing.

    Raises:
        BadInput: a rate is negative or no number.
        LiveFailure: the node did not answer in time, or not once at the first rate.
        LiveStopped: Ctrl-C, or the node failed, or the disk was full, after something was measured.
    """
    options = options or LiveOptions()
    wrong = [rate for rate in rates if not 0.0 <= rate < math.inf]
    if wrong:
        raise BadInput(
            f"The replay rate is {wrong[0]}: give 1 for the recorded pace, 0 for as fast as the node takes it."
        )
    with _ros_settings(environment), TemporaryDirectory() as scratch:
        benchmark = _Benchmark(reader, inputs, options, results)
        with (
            NodeProcess(command, environment, log) as process,
            LiveRun(
                reader,
                inputs,
                1.0,
                int(environment.get("ROS_DOMAIN_ID", "0")),
                Path(scratch),
                spool=results,
                topics=options.topics,
                spools=benchmark.spools,
            ) as live,
        ):
            return benchmark.measure(live, process, rates)


class _Benchmark:
    """The state of one benchmark: what was measured, and what is played next."""

    def __init__(self, reader: BagReader, inputs: Inputs, options: LiveOptions, results: Spool | None) -> None:
        self._reader, self._inputs, self._options = reader, inputs, options
        self._is_kept = results is not None
        self._bag = LoopedBag(reader, [topic for topic in (inputs.camera_info, inputs.image) if topic], inputs.image)
        self._live: dict[str, Any] = {"start_up_s": None, "highest_rate_hz": None, "runs": [], "search": [], "node": {}}

    def spools(self, topic: str, stamp_ns: int) -> bool:
        """Returns whether an answer is one that the caller wants to have."""
        if not self._is_kept or topic not in self._options.keeps or self._live["runs"]:
            return False
        return self._bag.is_recorded(stamp_ns)

    def measure(self, live: LiveRun, process: NodeProcess, rates: Sequence[float]) -> dict[str, Any]:
        """Returns everything; see :func:`measure_live`."""
        try:
            live.wait_until_ready(process, self._options.timeout_s)
            self._live["start_up_s"] = plain(live.first_answer - process.started)
            self._live["node"] = {**live.diagnostics, "camera remark": live.camera_remark}
            for rate in rates:
                self._run(live, process, rate)
            if self._options.search:
                self._live["highest_rate_hz"] = self._search(live, process)
        except KeyboardInterrupt as interrupt:
            if not self._live["runs"]:
                raise
            raise LiveStopped("Ctrl-C ended it before all rates were measured.", self._live, True) from interrupt
        except LiveFailure as failure:
            if not self._live["runs"]:
                raise
            raise LiveStopped(str(failure), self._live, False) from failure
        return self._live

    def _run(self, live: LiveRun, process: NodeProcess, rate: float) -> None:
        """Plays one rate, and notes what was measured, also when it ends early."""
        is_first = not self._live["runs"]
        images = max(self._options.images, self._reader.topics[self._inputs.image].count if is_first else 0)
        excerpt = Excerpt(
            self._bag.messages(), self._inputs.image, self._options.seconds, images, self._options.most_seconds
        )
        live.restart()
        before = live.report(process)
        most_in_flight = self._options.most_in_flight if rate == 0.0 else 0
        load = ProcessLoad(process.pid, live.diagnostics.get("device", "").startswith("cuda"))
        try:
            with load, progress_bar() as bar:
                pace = "as fast as it takes them" if rate == 0.0 else f"at {rate:g} x the recorded pace"
                task = bar.add_task(f"images to the node {pace}", total=None)
                live.stream(process, excerpt, rate, most_in_flight, lambda: bar.advance(task))
        except KeyboardInterrupt:
            live.settle(process)  # the last images are on their way: they were not dropped
            raise
        finally:
            if live.times.answers:
                after = live.report(process)
                offered = rate * excerpt.recorded_hz if rate else float("nan")
                self._live["runs"].append(run_values(rate, offered, live.times, before, after, load.values()))
        self._live["node"] = {**live.diagnostics, "camera remark": live.camera_remark}
        if live.failure and is_first:
            why = f"The results cannot be kept ({live.failure.strerror}): free some space on the disk."
            raise LiveStopped(why, self._live, False)

    def _search(self, live: LiveRun, process: NodeProcess) -> float | None:
        options = self._options
        end = time.monotonic() + options.search_budget_s

        def holds(rate: float) -> bool:
            messages = evenly(self._bag.messages(), self._inputs.image, rate)
            live.restart()
            try:
                live.stream(
                    process,
                    Excerpt(
                        messages,
                        self._inputs.image,
                        options.search_seconds,
                        options.search_images,
                        options.most_seconds,
                    ),
                    rate=1.0,
                )
            finally:
                measured = live.times.measured()
                kept_up = measured.sent_hz >= _KEPT_UP * rate
                held = kept_up and measured.received == measured.sent
                tried = {"offered_hz": rate, "sent_hz": measured.sent_hz, "sent": measured.sent}
                self._live["search"].append(plain({**tried, "received": measured.received, "held": held}))
                bar.advance(task)
            return held

        with progress_bar() as bar:
            task = bar.add_task("rates tried for the highest without a drop", total=None)
            held, start = self._known()
            return find_highest_rate(holds, start, held_hz=held, keep_going=lambda: time.monotonic() < end)

    def _known(self) -> tuple[float | None, float]:
        """Returns the highest rate that held so far, and where to look first.

        That is what the node took as fast as it could, or twice what held, or half of what did not.
        """
        runs = self._live["runs"]
        offered = {run["offered_hz"]: run["received"] == run["sent"] for run in runs if run["offered_hz"]}
        held = max((rate for rate, is_held in offered.items() if is_held), default=None)
        taken = max((run["received_hz"] or 0.0 for run in runs if run["rate"] == 0), default=0.0)
        if taken > (held or 0.0):
            return held, taken
        if held is not None:
            return held, 2 * held
        return None, min(offered) / 2 if offered else 1.0


@contextmanager
def _ros_settings(environment: Mapping[str, str]) -> Iterator[None]:
    """Gives this process the node's settings of ROS and Fast DDS, which are read when a context is made."""
    changes = {name: value for name, value in environment.items() if name.startswith(("FASTDDS_", "FASTRTPS_", "ROS_"))}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
