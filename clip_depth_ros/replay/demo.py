"""`clip-depth demo`: the node as its own process, a recording played to it over real DDS, and what came back."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from clip_depth_ros.errors import BadInput
from clip_depth_ros.resources import resolve

if TYPE_CHECKING:
    from clip_depth_ros.replay.live import Inputs
    from clip_depth_ros.replay.reader import BagReader

BAG = "package://clip_depth_ros/models/demo/rooms_bag"
CONFIG = "package://clip_depth_ros/config/demo.yaml"
START_TIMEOUT_S = 120.0
_WRITTEN = ("overview.png", "pictures", "cloud.ply", "result_bag", "summary.md", "summary.json", "node.log")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``clip-depth demo``."""
    parser.add_argument("--bag", default=BAG, help="recording to play, ROS 1 or 2 (default: the rooms that come along)")
    parser.add_argument("--config", default=CONFIG, help="ROS parameter file of the node (default: config/demo.yaml)")
    parser.add_argument("--head", default="", help="depth head to run instead of the config's")
    parser.add_argument("--device", default="", help="auto, cpu, cuda or cuda:<index> instead of the config's")
    parser.add_argument(
        "--rate", type=float, default=1.0, help="1: as recorded, 2: twice as fast, 0: as fast as it goes (default 1)"
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
        raise BadInput(f"--rate is {arguments.rate}: give 1 for the recorded pace, or 0 for as fast as it goes.")
    _make_folder(arguments.output)

    from clip_depth_ros.replay.reader import BagReader

    with BagReader(resolve(arguments.bag)) as recording, signals_as_exceptions():
        for warning in recording.warnings:
            print(warning, file=sys.stderr)
        return _run(arguments, config, recording)


def node_command(config: Path, device: str = "", head: str = "", compressed: bool = False) -> list[str]:
    """Returns the command line that starts the node in the namespace ``/camera``."""
    from clip_depth_ros.replay.live import NAMESPACE

    command = [sys.executable, "-m", "clip_depth_ros.ros.depth_node", "--ros-args", "--params-file", str(config)]
    command += ["-r", f"__ns:={NAMESPACE}", "-p", "autostart:=true"]
    command += ["-p", f"device:={device}"] if device else []
    command += ["-p", f"heads:=['{head}']"] if head else []
    command += ["-p", "image_transport:=compressed"] if compressed else []
    return command


def node_environment(environ: Mapping[str, str], domain_id: int) -> dict[str, str]:
    """Returns ``environ`` with this run's own DDS domain, on this machine alone, and the profile images need."""
    from clip_depth_ros.ros.fastdds import profile_environment

    return {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        **environ,
        **profile_environment(environ),
        "ROS_DOMAIN_ID": str(domain_id),
        "PYTHONUNBUFFERED": "1",
    }


def _run(arguments: argparse.Namespace, config: Path, recording: BagReader) -> int:
    domain_id = 1 + os.getpid() % 100
    environment = node_environment(os.environ, domain_id)
    os.environ.update(environment)  # Fast DDS in this process reads it too, before the first context

    from clip_depth_ros.replay.live import LiveFailure, LiveRun
    from clip_depth_ros.replay.node_process import NodeProcess
    from clip_depth_ros.replay.report import Run, write_report

    inputs = _inputs(recording, arguments.image_topic)
    command = node_command(config, arguments.device, arguments.head, inputs.compressed)
    process = NodeProcess(command, environment, arguments.output / "node.log")
    start = time.monotonic()
    try:
        with process, LiveRun(recording, inputs, arguments.rate, domain_id, arguments.output) as live:
            print("starting the node: it loads torch and its weights ...", file=sys.stderr)
            live.wait_until_ready(process, arguments.timeout)
            start_up_s = time.monotonic() - start
            stream = live.play(process)
            process.stop()
            outcome = Run(
                recording=recording,
                inputs=inputs,
                stream=stream,
                counts=live.counts,
                diagnostics=live.diagnostics,
                camera_remark=live.camera_remark,
                start_up_s=start_up_s,
                rate=arguments.rate,
            )
            print("comparing and drawing ...", file=sys.stderr)
            summary = write_report(arguments.output, outcome, live.results, arguments.depth_topic)
    except LiveFailure as failure:
        print(failure, file=sys.stderr)
        return 1
    print(summary.as_markdown(), end="")
    written = [name for name in _WRITTEN if (arguments.output / name).exists()]
    print(f"\nIn {arguments.output}: {', '.join(written)}")
    return 0


def _inputs(recording: BagReader, image_topic: str) -> Inputs:
    from clip_depth_ros.replay.live import Inputs
    from clip_depth_ros.replay.topics import candidates

    image = recording.require_topic("image", image_topic)
    if not candidates(recording, "camera_info"):
        print(f"{recording.path} has no camera_info: depth will come, but no points.", file=sys.stderr)
        return Inputs(image.name, image.type)
    return Inputs(image.name, image.type, recording.require_topic("camera_info", near=image.name).name)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder} cannot be made ({error.strerror}): choose a folder you can write to.") from error
    if not os.access(folder, os.W_OK):
        raise BadInput(f"{folder} cannot be written: choose a folder you can write to.")


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into exceptions meanwhile, so that the node's process is ended on the way out."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
