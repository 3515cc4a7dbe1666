"""``clip-depth make-bag``: pictures with depth, calibration and poses where there are, into a ROS 2 bag."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``clip-depth make-bag``."""
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        help="a data set: rgb/ (or the pictures themselves) and, optionally, depth/, intrinsics.json or "
        "camera_info.yaml, pose/; or TUM RGB-D (rgb.txt, depth.txt, groundtruth.txt); or an export of ScanNet (color/, "
        "depth/, pose/, intrinsic/); not needed with --rgb",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="bag folder to make")
    parser.add_argument("--rgb", type=Path, help="folder of the colour pictures (default FOLDER/rgb, or FOLDER)")
    parser.add_argument("--depth", type=Path, help="folder of the depth pictures (default FOLDER/depth)")
    parser.add_argument(
        "--intrinsics", type=Path, help="intrinsics.json, a matrix K as .txt, or camera_info_manager's YAML"
    )
    parser.add_argument(
        "--depth-intrinsics",
        type=Path,
        help="calibration of depth pictures that have pixels of their own, seen from the same place: they are put on "
        "the pictures' (default: ScanNet's intrinsic_depth.txt)",
    )
    parser.add_argument(
        "--poses",
        type=Path,
        help="camera poses: a TUM trajectory (stamp tx ty tz qx qy qz qw), or a folder or file of 4x4 camera-to-world "
        "matrices (default: the FOLDER's, where it has some); they become /tf from map to camera_optical_frame",
    )
    parser.add_argument(
        "--rate",
        type=float,
        help="frames a second, Hz (default: the data set's own time stamps where it has them, else 10)",
    )
    parser.add_argument(
        "--depth-scale",
        type=float,
        help="units a metre of 16-bit depth pictures (default: the JSON's; TUM 5000; else 1000)",
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
        help="stamp of the first frame, seconds since the epoch (default: the data set's own, else 1700000000)",
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
        depth_intrinsics=arguments.depth_intrinsics,
        poses=arguments.poses,
        depth_scale=arguments.depth_scale,
        depth_encoding=arguments.depth_encoding,
        start_time_s=arguments.start_time,
        namespace=arguments.namespace,
        overwrite=arguments.overwrite,
    )
    print(f"{made.path}: {made.frames} frames, {made.duration_s:.1f} s, on {', '.join(made.topics)}")
    for note in made.notes:
        print(note, file=sys.stderr)
    if not any(topic.endswith("/camera_info") for topic in made.topics):
        print("no calibration was found: the bag has no camera_info, so it gives depth but no points", file=sys.stderr)
    return 0
