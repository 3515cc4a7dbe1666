"""``clip-depth replay --live``: the node as its own process, the recording over real DDS, and the same report."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.answers import score_answers
from clip_depth_ros.replay.frames import FrameSource
from clip_depth_ros.replay.ground_truth.plan import Plan
from clip_depth_ros.replay.ground_truth.selection import sibling_camera_info
from clip_depth_ros.replay.live import LiveFailure
from clip_depth_ros.replay.live_benchmark import LiveOptions, LiveStopped, measure_live
from clip_depth_ros.replay.live_topics import DEPTH, DEPTH_CAMERA_INFO, POINTS, Inputs
from clip_depth_ros.replay.messages import BagMessage
from clip_depth_ros.replay.node_command import node_command, node_environment, own_domain_id, signals_as_exceptions
from clip_depth_ros.replay.page import StripFrame, write_report
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.receiver import Spool
from clip_depth_ros.replay.reporting import make_report, print_report
from clip_depth_ros.replay.writer import BagWriter
from clip_depth_ros.resources import resolve

_SETTINGS = ("device", "precision", "acceleration", "encoder", "device memory peak [MiB]", "host memory [MiB]")


def replay_live(
    arguments: argparse.Namespace,
    reader: BagReader,
    plan: Plan,
    config: EstimatorConfig,
    limits: tuple[float, float],
) -> int:
    """Measures a node on a recording and writes the report; arguments are those of the command and what they mean.

    Returns:
        0; 1 when the node did not do its part, or the recording is cut off; 130 after Ctrl-C. What was measured until
        then is in the report.
    """
    inputs = live_inputs(reader, plan)
    environment = node_environment(os.environ, own_domain_id())
    command = node_command(resolve(arguments.config), arguments.device, config.heads, inputs.compressed)
    if arguments.encoding_override:
        command += ["-p", f"encoding_override:={arguments.encoding_override}"]
    # Colours are for people: a robot has no subscriber for them.
    robots = (DEPTH, DEPTH_CAMERA_INFO, POINTS) if inputs.camera_info else (DEPTH,)
    topics = inputs.results if arguments.result_bag else robots
    options = LiveOptions(
        seconds=arguments.seconds,
        timeout_s=arguments.timeout,
        topics=topics,
        keeps=topics if arguments.result_bag else (DEPTH,),
        search=not arguments.no_search,
    )
    with signals_as_exceptions(), Spool(arguments.output) as results:
        outcome = run_node(reader, inputs, command, environment, arguments.rate, arguments.output, results, options)
        if outcome is None:
            return 1
        if arguments.result_bag:
            write_answers(arguments.output / "result_bag", results)
        source = FrameSource(reader, plan)
        report, strip = live_report(source, results, config, limits, outcome)
    report["settings"]["topics with a subscriber"] = ", ".join(topics)
    files = write_report(arguments.output, report, strip)
    print_report(arguments.output, [*(file.name for file in files), "node.log"])
    return outcome.code


@dataclass(frozen=True)
class LiveOutcome:
    """What came of a live run.

    Attributes:
        live: what was measured, as ``report.json`` has it.
        stopped: why it ended early; empty when it did not.
        code: the command's exit code.
    """

    live: dict[str, Any]
    stopped: str = ""
    code: int = 0


def run_node(
    reader: BagReader,
    inputs: Inputs,
    command: list[str],
    environment: dict[str, str],
    rates: Sequence[float],
    folder: Path,
    results: Spool,
    options: LiveOptions,
) -> LiveOutcome | None:
    """Measures a node, whose output goes to ``node.log`` in ``folder``; None, and why on stderr, when it failed."""
    log = folder / "node.log"
    print(f"starting the node, which writes to {log} ...", file=sys.stderr)
    try:
        live = measure_live(reader, inputs, command, environment, rates, log=log, results=results, options=options)
    except LiveFailure as failure:
        print(failure, file=sys.stderr)
        return None
    except LiveStopped as stop:
        print(stop, file=sys.stderr)
        return LiveOutcome(stop.live, str(stop), 130 if stop.by_user else 1)
    return LiveOutcome(live, " ".join(reader.damage), 1) if reader.damage else LiveOutcome(live)


def live_inputs(reader: BagReader, plan: Plan) -> Inputs:
    """Returns the topics to play; says where there is no calibration for the node to hear."""
    image = reader.topics[plan.topics.image]
    # A calibration of zeros is played too: the node says what is wrong with it.
    beside = sibling_camera_info(reader, image.name)
    info = plan.cameras.source if plan.cameras is not None and plan.cameras.source in reader.topics else beside
    if not info:
        print(f"{reader.path} has no camera_info beside {image.name}: depth will come, but no points.", file=sys.stderr)
        return Inputs(image.name, image.type)
    return Inputs(image.name, image.type, info)


def write_answers(path: Path, results: Spool) -> None:
    """Writes what the node answered as a bag, byte for byte; BadInput when that cannot be written."""
    with BagWriter(path, overwrite=True) as writer:
        for message in results.messages():
            writer.write(message.topic, message.type, message.time_ns, message.data)


def live_report(
    source: FrameSource, results: Spool, config: EstimatorConfig, limits: tuple[float, float], outcome: LiveOutcome
) -> tuple[dict[str, Any], list[StripFrame]]:
    """Returns the report of a live run, and the frames to look at.

    Args:
        source: the pictures that were played.
        results: the node's messages of the first rate.
        config: what the node was to run.
        limits: nearest and farthest ground truth that counts (metres).
        outcome: what was measured.
    """

    def depth() -> Iterator[BagMessage]:
        return (message for message in results.messages() if message.topic == DEPTH)

    scoring = score_answers(source, depth, config.heads[0], limits)
    node = outcome.live.get("node", {})
    settings = {name: node[name] for name in _SETTINGS if name in node}
    report = make_report("live", source, scoring, config, limits, settings, outcome.stopped)
    report["live"] = {name: value for name, value in outcome.live.items() if name != "node"}
    if remark := node.get("camera remark"):
        report["bag"]["warnings"].append(remark)
    return report, scoring.strip.frames()


def check_live_options(arguments: argparse.Namespace) -> None:
    """Raises BadInput where an option has no meaning in a live replay."""
    for name in ("degrade", "resume", "every", "rerun"):
        if getattr(arguments, name):
            raise BadInput(f"--{name} has no meaning with --live: leave one of the two out.")
