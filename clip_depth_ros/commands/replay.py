"""``clip-depth replay``: how good and how fast depth is on a recording, as one page to look at."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import writable_folder
from clip_depth_ros.resources import resolve

if TYPE_CHECKING:
    from clip_depth_ros.depth.config import EstimatorConfig

CONFIG = "package://clip_depth_ros/config/demo.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``clip-depth replay``."""
    from clip_depth_ros.replay.conditions import CONDITIONS
    from clip_depth_ros.replay.ground_truth.options import (
        add_geometry_arguments,
        add_time_arguments,
        add_topic_arguments,
    )

    parser.add_argument("bag", metavar="BAG", help="ROS 2 bag folder, .mcap or .db3, or ROS 1 .bag")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("replay_report"), metavar="DIR", help="folder (default %(default)s)"
    )
    parser.add_argument("--config", default=CONFIG, metavar="FILE", help="ROS parameter file (default: the demo model)")
    parser.add_argument(
        "--head", action="append", default=[], metavar="NAME", help="depth head instead of the config's; repeat it"
    )
    parser.add_argument("--device", default="", metavar="NAME", help="auto, cpu, cuda or cuda:N, not the config's")
    parser.add_argument("--batch", type=int, default=4, metavar="N", help="pictures an encode (default %(default)s)")
    parser.add_argument(
        "--degrade",
        default="",
        metavar="NAME,...",
        help=f"replay also under these conditions: {', '.join(CONDITIONS)}",
    )
    parser.add_argument(
        "--result-bag", action="store_true", help="also write depth, points and colours as a bag, DIR/result_bag"
    )
    parser.add_argument(
        "--points-every", type=int, default=1, metavar="N", help="its points of every N-th picture, 0: none (default 1)"
    )
    parser.add_argument(
        "--rerun", type=Path, metavar="FILE.rrd", help="also write a recording for the Rerun viewer (extra rerun)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with a replay that was stopped")
    _add_live_arguments(parser.add_argument_group("live: over DDS, into the node as another process"))
    add_topic_arguments(parser.add_argument_group("topics (found by themselves where the recording has one candidate)"))
    add_geometry_arguments(parser.add_argument_group("how depth gets into the pictures"))
    taken = parser.add_argument_group("what is compared")
    add_time_arguments(taken)
    taken.add_argument(
        "--range",
        type=float,
        nargs=2,
        metavar=("NEAR", "FAR"),
        help="ground truth that counts, m (default: 0.1 10; LiDAR: 0.5 80)",
    )
    taken.add_argument("--no-truth", action="store_true", help="compare with nothing")


def _add_live_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--live", action="store_true", help="play the recording to the running node and measure that")
    group.add_argument(
        "--rate",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="R",
        help="paces, one after the other: 1 as recorded, 2 twice as fast, 0 as fast as the node takes it (default 1)",
    )
    group.add_argument(
        "--seconds", type=float, default=20.0, metavar="S", help="least time at each pace (default %(default)s)"
    )
    group.add_argument("--no-search", action="store_true", help="do not look for the highest rate without a drop")
    group.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="S",
        help="time in which the node must load its weights and answer (default %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Replays a recording and writes its report; returns the exit code."""
    conditions = _conditions(arguments.degrade)
    if arguments.batch < 1:
        raise BadInput(f"--batch is {arguments.batch}: give 1 or more pictures.")
    if arguments.rerun is not None and arguments.resume:
        raise BadInput("--rerun cannot go on with a file: leave out --resume to begin anew, or --rerun.")
    writable_folder(arguments.output)

    from clip_depth_ros.replay.ground_truth.options import TruthOptions
    from clip_depth_ros.replay.ground_truth.plan import make_plan
    from clip_depth_ros.replay.reader import BagReader

    options = TruthOptions.of(arguments)
    with BagReader(resolve(arguments.bag)) as reader:
        plan = make_plan(reader, options, "unwanted" if arguments.no_truth else "wanted")
        for sentence in (*reader.warnings, *plan.notes):
            print(sentence, file=sys.stderr)
        limits = _range(arguments.range, plan.topics.usual_range_m)
        config = _config(arguments)

        if arguments.live:
            from clip_depth_ros.replay.live_command import check_live_options, replay_live

            check_live_options(arguments)
            return replay_live(arguments, reader, plan, config, limits)
        from clip_depth_ros.replay.offline.command import replay_offline

        return replay_offline(arguments, reader, plan, config, conditions, limits)


def _conditions(text: str) -> tuple[str, ...]:
    """Returns the conditions to replay under, that of the recording first."""
    from clip_depth_ros.replay.conditions import AS_RECORDED, CONDITIONS

    named = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in named if name not in CONDITIONS]
    if unknown:
        raise BadInput(f"--degrade names {unknown[0]!r}: give some of {', '.join(CONDITIONS)}.")
    return (AS_RECORDED, *dict.fromkeys(named))


def _config(arguments: argparse.Namespace) -> EstimatorConfig:
    from clip_depth_ros.depth.config import EstimatorConfig

    config = EstimatorConfig.from_yaml(arguments.config)
    config = replace(config, heads=tuple(dict.fromkeys(arguments.head))) if arguments.head else config
    return replace(config, device=arguments.device) if arguments.device else config


def _range(given: list[float] | None, usual: tuple[float, float]) -> tuple[float, float]:
    near, far = given or usual
    if not 0 <= near < far < float("inf"):
        raise BadInput(f"--range {near:g} {far:g} is no range: give nearest and farthest in metres.")
    return near, far
