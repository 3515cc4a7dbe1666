"""`clip-depth demo`: the node as its own process, a recording played to it over real DDS, and what came back."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import writable_folder
from clip_depth_ros.resources import resolve

if TYPE_CHECKING:
    from clip_depth_ros.replay.reader import BagReader

BAG = "package://clip_depth_ros/models/demo/rooms_bag"
CONFIG = "package://clip_depth_ros/config/demo.yaml"
START_TIMEOUT_S = 120.0
_WRITTEN = ("report.html", "report.md", "report.json", "overview.png", "cloud.ply", "result_bag", "node.log")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``clip-depth demo``."""
    parser.add_argument("--bag", default=BAG, help="recording to play, ROS 1 or 2 (default: the rooms that come along)")
    parser.add_argument("--config", default=CONFIG, help="ROS parameter file of the node (default: config/demo.yaml)")
    parser.add_argument("--head", default="", help="depth head to run instead of the config's")
    parser.add_argument("--device", default="", help="auto, cpu, cuda or cuda:<index> instead of the config's")
    parser.add_argument(
        "--rate", type=float, default=1.0, help="1: as recorded, 2: twice as fast, 0: as the node takes it (default 1)"
    )
    parser.add_argument("--image-topic", default="", help="image topic of the recording, where it has several")
    parser.add_argument("--depth-topic", default="", help="ground-truth depth topic, where it has several")
    parser.add_argument(
        "--timeout",
        type=float,
        default=START_TIMEOUT_S,
        help="seconds the node may take to load its weights and answer (default %(default)s)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("demo_output"), help="folder to write to (default %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the demo and prints its table; returns the exit code (1: the node did not do its part)."""
    config = resolve(arguments.config)
    if not config.is_file():
        raise BadInput(f"{config} does not exist: give a ROS parameter file with --config.")
    if not arguments.rate >= 0.0:
        raise BadInput(
            f"--rate is {arguments.rate}: give 1 for the recorded pace, or 0 for as fast as the node takes it."
        )
    writable_folder(arguments.output)

    from clip_depth_ros.replay.reader import BagReader

    with BagReader(resolve(arguments.bag)) as recording:
        for warning in recording.warnings:
            print(warning, file=sys.stderr)
        return _run(arguments, config, recording)


def _run(arguments: argparse.Namespace, config: Path, recording: BagReader) -> int:
    from clip_depth_ros.depth.config import EstimatorConfig
    from clip_depth_ros.replay.frames import FrameSource
    from clip_depth_ros.replay.ground_truth.options import TruthOptions
    from clip_depth_ros.replay.ground_truth.plan import make_plan
    from clip_depth_ros.replay.live_benchmark import LiveOptions
    from clip_depth_ros.replay.live_command import live_inputs, live_report, run_node, write_answers
    from clip_depth_ros.replay.live_topics import POINTS, RESULTS
    from clip_depth_ros.replay.node_command import (
        node_command,
        node_environment,
        own_domain_id,
        signals_as_exceptions,
    )
    from clip_depth_ros.replay.page import write_report
    from clip_depth_ros.replay.pictures import write_middle_cloud, write_overview
    from clip_depth_ros.replay.reader import BagReader
    from clip_depth_ros.replay.receiver import Spool
    from clip_depth_ros.replay.reporting import print_report

    output: Path = arguments.output
    estimator = EstimatorConfig.from_yaml(config)
    estimator = replace(estimator, heads=(arguments.head,)) if arguments.head else estimator
    plan = make_plan(recording, TruthOptions(image=arguments.image_topic, depth=arguments.depth_topic), "wanted")
    inputs = live_inputs(recording, plan)
    environment = node_environment(os.environ, own_domain_id())
    command = node_command(config, arguments.device, estimator.heads, inputs.compressed)
    once = LiveOptions(seconds=0.0, images=0, timeout_s=arguments.timeout, keeps=tuple(RESULTS), search=False)
    with signals_as_exceptions(), Spool(output) as results:
        outcome = run_node(recording, inputs, command, environment, [arguments.rate], output, results, once)
        if outcome is None:
            return 1
        print("comparing and drawing ...", file=sys.stderr)
        write_answers(output / "result_bag", results)
        report, strip = live_report(
            FrameSource(recording, plan), results, estimator, plan.topics.usual_range_m, outcome
        )
    write_report(output, report, strip)
    write_overview(output / "overview.png", strip, estimator.heads[0])
    with BagReader(output / "result_bag") as answers:
        write_middle_cloud(output / "cloud.ply", answers, POINTS)
    print_report(output, [name for name in _WRITTEN if (output / name).exists()])
    return outcome.code
