"""``clip-depth make-bag``: a folder of pictures (with depth and calibration where there are) into a ROS 2 bag."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``clip-depth make-bag``."""
    parser.add_argument(
        "folder",
        type=Path,
        help="holds rgb/ (or the pictures themselves) and, optionally, depth/ and intrinsics.json or camera_info.yaml",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="bag folder to make")
    parser.add_argument("--rate", type=float, default=10.0, help="frames a second, Hz (default %(default)s)")
    parser.add_argument("--rgb", type=Path, help="folder of the colour pictures (default FOLDER/rgb, or FOLDER)")
    parser.add_argument("--depth", type=Path, help="folder of the depth pictures (default FOLDER/depth)")
    parser.add_argument("--intrinsics", type=Path, help="intrinsics.json, or camera_info_manager's YAML")
    parser.add_argument(
        "--depth-scale", type=float, help="units a metre of 16-bit depth pictures (default: the JSON's)"
    )
    parser.add_argument(
        "--depth-encoding",
        choices=("16UC1", "32FC1"),
        default="16UC1",
        help="16UC1: millimetres, 0 = no reading; 32FC1: metres, NaN = no reading (default %(default)s)",
    )
    parser.add_argument(
        "--start-time",
        type=float,
        default=1_700_000_000.0,
        help="stamp of the first frame, seconds since the epoch (default %(default)s)",
    )
    parser.add_argument("--namespace", default="/camera", help="what the topics begin with (default %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace a bag that is there")


def run(arguments: argparse.Namespace) -> int:
    """Runs ``clip-depth make-bag`` and prints what it wrote; returns the exit code."""
    from clip_depth_ros.replay.make_bag import make_bag

    made = make_bag(
        arguments.folder,
        arguments.output,
        arguments.rate,
        rgb=arguments.rgb,
        depth=arguments.depth,
        intrinsics=arguments.intrinsics,
        depth_scale=arguments.depth_scale,
        depth_encoding=arguments.depth_encoding,
        start_time_s=arguments.start_time,
        namespace=arguments.namespace,
        overwrite=arguments.overwrite,
    )
    print(f"{made.path}: {made.frames} frames, {made.frames / arguments.rate:.1f} s, on {', '.join(made.topics)}")
    if not any(topic.endswith("/camera_info") for topic in made.topics):
        print("no calibration was found: the bag has no camera_info, so it gives depth but no points", file=sys.stderr)
    return 0
