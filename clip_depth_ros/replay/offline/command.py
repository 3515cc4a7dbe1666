"""``clip-depth replay`` without ``--live``: runs, can be stopped and gone on with, and writes the report."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.errors import BadInput
from clip_depth_ros.progress import progress_bar
from clip_depth_ros.replay.frames import FrameSource
from clip_depth_ros.replay.ground_truth.plan import Plan
from clip_depth_ros.replay.offline.run import OfflineRun, Sink
from clip_depth_ros.replay.offline.saving import SavedRun
from clip_depth_ros.replay.offline.sinks import RESULT_BAG, RerunSink, result_bag
from clip_depth_ros.replay.page import write_report
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.reporting import make_report, print_report
from clip_depth_ros.replay.rerun_log import RerunLog

_SAVE_EVERY_S = 30.0


def replay_offline(
    arguments: argparse.Namespace,
    reader: BagReader,
    plan: Plan,
    config: EstimatorConfig,
    conditions: tuple[str, ...],
    limits: tuple[float, float],
) -> int:
    """Replays a recording and writes its report; arguments are those of the command and what they mean.

    Returns:
        0; 1 when the recording is cut off (the report is of what could be read); 130 after Ctrl-C (likewise).
    """
    source = FrameSource(reader, plan, arguments.every)
    estimator = DepthEstimator.from_settings(config)
    sinks: list[Sink] = []
    offline = OfflineRun(source, estimator, config.heads, conditions, limits, arguments.batch, sinks)
    saved = SavedRun(arguments.output, _identity(arguments, reader, plan, offline, estimator.identity, limits))
    if arguments.resume:
        saved.restore(offline)
    else:
        saved.remove()
    with ExitStack() as stack:
        ranges = {name: head.config_dict().get("valid_range", limits) for name, head in estimator.heads.items()}
        if arguments.result_bag:
            every, done = arguments.points_every, offline.scoring.pictures
            sinks.append(stack.enter_context(result_bag(arguments.output, reader, plan, ranges, every, done)))
        if arguments.rerun is not None:
            sinks.append(RerunSink(stack.enter_context(RerunLog(arguments.rerun, ranges))))
        finished = _run(offline, saved, reader.topics[plan.topics.image].count, reader.path.name)
        if not offline.scoring.pictures:
            raise BadInput(f"No picture on {plan.topics.image} in {reader.path} can be read: {_first_reason(source)}")
    stopped = ""
    if not finished:
        stopped = f"Stopped by the user after {offline.scoring.pictures} pictures; --resume goes on from there."
    elif reader.damage:
        stopped = " ".join(reader.damage)
    settings = {
        "device": str(estimator.device),
        **estimator.path,
        "pictures in one encode": str(arguments.batch),
    }
    report = make_report("offline", source, offline.scoring, config, limits, settings, stopped)
    for run in report["runs"]:
        run["speed"] = offline.timing[run["condition"]].plain(arguments.batch)
    files = write_report(arguments.output, report, offline.scoring.strip.frames())
    print_report(arguments.output, [*(file.name for file in files), *([RESULT_BAG] if arguments.result_bag else [])])
    if not finished:
        return 130
    saved.remove()
    return 1 if stopped else 0


def _identity(
    arguments: argparse.Namespace,
    reader: BagReader,
    plan: Plan,
    offline: OfflineRun,
    encoder: str,
    limits: tuple[float, float],
) -> dict[str, Any]:
    """Returns what must be the same for a replay to be gone on with."""
    return {
        "recording": f"{reader.path.name}, {reader.start_ns}, {reader.topics[plan.topics.image].count}",
        "topics": f"{plan.topics.image}, {plan.topics.truth}",
        "heads and conditions": [list(key) for key in offline.scoring.scores],
        "encoder": encoder,
        "range": list(limits),
        "batch": arguments.batch,
        "choice of pictures": arguments.every,
    }


def _run(offline: OfflineRun, saved: SavedRun, total: int, name: str) -> bool:
    """Runs to the end, or until a signal asks to stop; returns whether it is the end."""
    due = time.monotonic() + _SAVE_EVERY_S
    with stop_request() as asked, progress_bar() as bar:
        task = bar.add_task(f"replaying {name}", total=total, completed=offline.next_number)

        def after_batch() -> bool:
            nonlocal due
            bar.update(task, completed=offline.next_number)
            if asked() or time.monotonic() > due:
                saved.save(offline)
                due = time.monotonic() + _SAVE_EVERY_S
            return not asked()

        finished = offline.go(after_batch)
        if finished:
            bar.update(task, completed=total)
    return finished


def _first_reason(source: FrameSource) -> str:
    return next(iter(source.skipped.values()), "it has no message there.")


@contextmanager
def stop_request() -> Iterator[Callable[[], bool]]:
    """Makes the first SIGINT or SIGTERM a wish that the yielded function tells of; a second SIGINT interrupts."""
    wishes: list[int] = []

    def wish(number: int, frame: FrameType | None) -> None:
        if wishes and number == signal.SIGINT:
            raise KeyboardInterrupt
        wishes.append(number)

    before = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(wishes)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
