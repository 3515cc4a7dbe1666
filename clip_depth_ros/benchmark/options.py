"""The options of ``clip-depth benchmark``; nothing heavy is imported before a part runs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.demo import CONFIG
from clip_depth_ros.sizes import parse_size

FULL_SIZE = "ViT-B-16-quickgelu"
OUTPUT = Path("benchmark_results")


class Part(NamedTuple):
    """One part of the suite: its module's ``measure(arguments)`` gives an outcome.

    Attributes:
        module: where it is.
        help_line: what it measures.
        add_options: declares its own options.
        packages: what it imports beside the package's own requirements, and the extra that installs it.
    """

    module: str
    help_line: str
    add_options: Callable[[argparse.ArgumentParser], None]
    packages: dict[str, str]


def _add_common(parser: argparse.ArgumentParser, rounds: int, what: str) -> None:
    parser.add_argument("--rounds", type=int, default=rounds, help=f"{what} (default {rounds})")
    parser.add_argument("--threads", type=int, help="CPU threads of the network (default: PyTorch's own choice)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument(
        "-o", "--output", type=Path, default=OUTPUT, metavar="DIR", help=f"folder to write to (default {OUTPUT})"
    )


def _add_size(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--size", default="480x640", metavar="HxW", help=f"size of {what}, pixels (default 480x640)")


def _add_weights(parser: argparse.ArgumentParser, full_size: bool = False) -> None:
    group = parser.add_mutually_exclusive_group()
    config, demo, model = ("", "", " (default)") if full_size else (CONFIG, " (default: the demo model)", "")
    group.add_argument("--config", default=config, metavar="FILE", help=f"ROS parameter file{demo}")
    group.add_argument(
        "--model",
        default=FULL_SIZE if full_size else "",
        metavar="NAME",
        help=f"SPACE-CLIP at full size on this model of open_clip, random weights: {FULL_SIZE}{model}",
    )
    group.add_argument("--tiny", action="store_true", help="a tiny network: to see that it runs")


def _add_ways(parser: argparse.ArgumentParser, several: bool) -> None:
    """Declares how the estimator runs: ``several`` ways to be compared, all by default, or one."""
    for name in ("precision", "acceleration"):
        if several:
            told = "as the node's parameter; may be given again (default all)"
            parser.add_argument(f"--{name}", action="append", metavar="NAME", help=told)
        else:
            parser.add_argument(
                f"--{name}", default="auto", metavar="NAME", help="as the node's parameter (default auto)"
            )
    parser.add_argument("--repeats", type=int, help="runs in a turn, whose median counts (default 1, on a GPU 20)")


def _add_reference(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-reference", action="store_true", help="leave plain PyTorch out; ratios are to the first way then"
    )


def _add_node(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--config", default=CONFIG, metavar="FILE", help="ROS parameter file (default: the demo's)")
    group.add_argument("--tiny", action="store_true", help="a tiny network: to see that it runs")
    parser.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="a parameter of the node, as ros2 run takes it; may be given again",
    )
    parser.add_argument(
        "--timeout", type=float, default=120.0, help="seconds the node may take to start and answer (default 120)"
    )
    _add_size(parser, "the camera's pictures")


def add_network(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the part ``network``."""
    _add_weights(parser, full_size=True)
    _add_ways(parser, several=True)
    _add_reference(parser)
    _add_size(parser, "the depth")
    parser.add_argument("--batch", type=int, default=1, help="pictures in a batch (default 1)")
    _add_common(parser, 15, "turns of each way")


def add_host(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the part ``host``."""
    _add_weights(parser)
    _add_ways(parser, several=True)
    _add_reference(parser)
    _add_size(parser, "picture and depth")
    _add_common(parser, 15, "turns of each way")


def add_cameras(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the part ``cameras``."""
    _add_weights(parser)
    _add_ways(parser, several=False)
    _add_size(parser, "each picture")
    parser.add_argument(
        "--cameras", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N", help="numbers of cameras (default 1 2 4 8)"
    )
    _add_common(parser, 15, "turns of each number of cameras")


def add_parts(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the part ``parts``."""
    _add_weights(parser)
    _add_ways(parser, several=False)
    _add_size(parser, "picture and depth")
    _add_common(parser, 15, "turns of each part")


def add_node(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the part ``node``."""
    _add_node(parser)
    parser.add_argument(
        "--topics",
        action="append",
        choices=("depth", "depth+points", "depth+colour+points"),
        help="what somebody subscribes to; may be given again (default: each of them in turn)",
    )
    parser.add_argument("--frames", type=int, default=200, help="images a run (default 200)")
    parser.add_argument("--rate", type=float, default=10.0, help="images a second, Hz (default 10)")
    _add_common(parser, 3, "runs with each set of topics, each with a node of its own")


def add_start(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the part ``start``."""
    _add_node(parser)
    parser.add_argument("--no-node", action="store_true", help="only the estimator: needs no ROS")
    _add_common(parser, 5, "starts of each")


def add_soak(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the part ``soak``."""
    _add_node(parser)
    parser.add_argument("--cameras", type=int, default=1, metavar="N", help="cameras (default 1)")
    parser.add_argument("--rate", type=float, default=10.0, help="images a second of each camera, Hz (default 10)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long images are sent (default 60)")
    parser.add_argument(
        "--settle", type=float, default=10.0, help="seconds after which memory must stay flat (default 10)"
    )
    _add_common(parser, 1, "runs, each with a node of its own")


_EXTRA = "benchmark"
_PLOT = {"matplotlib": _EXTRA}
_REFERENCE = {**_PLOT, "transformers": _EXTRA}
_ROS = {**_PLOT, "rclpy": "ros"}
_HERE = "clip_depth_ros.benchmark"
PARTS = {
    "network": Part(f"{_HERE}.network", "the network alone, against plain PyTorch", add_network, _REFERENCE),
    "host": Part(f"{_HERE}.host", "picture in host memory to depth in host memory", add_host, _REFERENCE),
    "node": Part(f"{_HERE}.node", "the running node, message in to message out over DDS", add_node, _ROS),
    "cameras": Part(f"{_HERE}.cameras", "several cameras in one batch", add_cameras, _PLOT),
    "parts": Part(f"{_HERE}.parts", "parameters, FLOPs, memory and time of each part", add_parts, _PLOT),
    "start": Part(f"{_HERE}.start", "from process start to the first depth", add_start, _ROS),
    "soak": Part(f"{_HERE}.soak", "cameras for a minute: frames lost, latency, memory", add_soak, _ROS),
}


def check(arguments: argparse.Namespace) -> None:
    """Checks the options that every part shares, before anything heavy is imported.

    Raises:
        BadInput: a number out of range, an unusable size, a package that is not installed, or a bad output folder.
    """
    values = vars(arguments)
    for name in ("rounds", "threads", "repeats", "batch", "frames"):
        if values.get(name) is not None and values[name] < 1:
            raise BadInput(f"--{name} is {values[name]}: give 1 or more.")
    for name in ("rate", "seconds", "timeout"):
        if name in values and not 0 < values[name] < math.inf:
            raise BadInput(f"--{name} is {values[name]}: give a number above 0.")
    if "settle" in values and not 0 <= values["settle"] < math.inf:
        raise BadInput(f"--settle is {values['settle']}: give 0 seconds or more.")
    counts = values.get("cameras", [1])
    if not all(1 <= count <= 64 for count in (counts if isinstance(counts, list) else [counts])):
        raise BadInput(f"--cameras is {counts}: give 1 to 64.")
    parse_size(arguments.size, "--size")
    for text in values.get("parameter", ()):
        if not all(text.partition(":=")):
            raise BadInput(f"--parameter is {text!r}: give NAME:=VALUE, such as precision:=bf16.")
    _check_packages(arguments)


def _check_packages(arguments: argparse.Namespace) -> None:
    spared = set()
    if getattr(arguments, "no_reference", False):
        spared.add("transformers")
    if getattr(arguments, "no_node", False):
        spared.add("rclpy")
    for package, extra in PARTS[arguments.part].packages.items():
        if package in spared or find_spec(package) is not None:
            continue
        source = ", or source ROS 2" if package == "rclpy" else ""
        raise BadInput(
            f"`clip-depth benchmark {arguments.part}` needs {package}: pip install 'clip_depth_ros[{extra}]'{source}."
        )
