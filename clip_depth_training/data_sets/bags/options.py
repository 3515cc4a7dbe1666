"""The options of ``clip-depth-train prepare bag``."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path

from clip_depth_ros.errors import BadInput

VALIDATION_SUFFIX = "_validation"
GAP_S = 2.0
"""Seconds of the recording left out between the training part and the held-out part."""


@dataclass(frozen=True)
class Options:
    """What the user asked for; :func:`add_arguments` says what each means."""

    image: str = ""
    depth: str = ""
    lidar: str = ""
    camera_info: str = ""
    depth_camera_info: str = ""
    encoding_override: str = ""
    extrinsics: Path | None = None
    fixed_frame: str = ""
    registered: bool = False
    rectified: bool = False
    tolerance: float | None = None
    every: float = 0.5
    accumulate: int = 1
    occlusion: float = 0.1
    occlusion_pixels: int = 3
    hold_out: float = 0.0
    depth_range: tuple[float, float] | None = None
    jpeg: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Options:
        """Returns the options of a command line.

        Raises:
            BadInput: a number is out of range, or options exclude each other.
        """
        options = cls(**{field.name: getattr(arguments, field.name) for field in fields(cls)})
        if options.depth and options.lidar:
            raise BadInput("--depth and --lidar exclude each other: the truth comes from one of the two.")
        if options.accumulate > 1 and not options.fixed_frame:
            raise BadInput("--accumulate needs --fixed-frame (odom, map): without it, scans cannot be put together.")
        for name, value, least in (
            ("--tolerance", options.tolerance or 0.0, 0.0),
            ("--every", options.every, 0.0),
            ("--occlusion", options.occlusion, 0.0),
            ("--occlusion-pixels", options.occlusion_pixels, 1),
            ("--accumulate", options.accumulate, 1),
        ):
            if not least <= value < float("inf"):
                raise BadInput(f"{name} is {value:g}: give a number from {least:g}.")
        if not 0.0 <= options.hold_out < 1.0:
            raise BadInput(f"--hold-out is {options.hold_out:g}: give a part from 0 to below 1.")
        if options.depth_range and not 0 <= options.depth_range[0] < options.depth_range[1] < float("inf"):
            near, far = options.depth_range
            raise BadInput(f"--depth-range {near:g} {far:g} is no range: give nearest and farthest in metres.")
        return options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options to ``parser``."""
    _add_topics(parser.add_argument_group("topics (found by themselves where the recording has one candidate)"))
    _add_geometry(parser.add_argument_group("geometry"))
    _add_taking(parser.add_argument_group("what is taken"))


def _add_topics(group: argparse._ArgumentGroup) -> None:
    for name, metavar, meaning in (
        ("--image", "TOPIC", "pictures: Image or CompressedImage"),
        ("--depth", "TOPIC", "depth images: 32FC1 (m), 16UC1 (mm), or either as compressedDepth (PNG)"),
        ("--lidar", "TOPIC", "LiDAR scans: PointCloud2"),
        (
            "--camera-info",
            "TOPIC|FILE",
            "calibration of the pictures: a topic, or camera_info_manager's YAML (default: camera_info beside them)",
        ),
        ("--depth-camera-info", "TOPIC|FILE", "calibration of the depth images, likewise"),
        ("--encoding-override", "NAME", "what raw pictures hold (bgr8, ...), where they say something else"),
    ):
        group.add_argument(name, metavar=metavar, default="", help=meaning)


def _add_geometry(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--extrinsics",
        type=Path,
        metavar="FILE",
        help="YAML or JSON that takes points of the sensor into the camera's optical frame: translation: [x, y, z] "
        "in m and rotation: [x, y, z, w], or a 4x4 matrix (default: /tf and /tf_static of the recording)",
    )
    group.add_argument(
        "--fixed-frame",
        metavar="FRAME",
        default="",
        help="frame that stands still (odom, map): the robot's motion between scan and picture is undone",
    )
    group.add_argument(
        "--registered", action="store_true", help="depth pixels are the picture's, whatever frame and camera_info say"
    )
    group.add_argument(
        "--rectified", action="store_true", help="pictures are rectified (default: those on image_rect* are)"
    )
    group.add_argument(
        "--occlusion",
        type=float,
        default=Options.occlusion,
        metavar="PART",
        help="drop projected points behind a nearer one close by, by more than this part of their depth; 0 keeps all "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--occlusion-pixels",
        type=int,
        default=Options.occlusion_pixels,
        metavar="N",
        help="how close by, in rows and columns, for LiDAR (default: %(default)s)",
    )
    group.add_argument(
        "--accumulate",
        type=int,
        default=Options.accumulate,
        metavar="N",
        help="scans put together for one picture; needs --fixed-frame (default: %(default)s)",
    )


def _add_taking(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--tolerance",
        type=float,
        metavar="SECONDS",
        help="longest time between picture and depth (default: 0.02; LiDAR: half its period, at most 0.05)",
    )
    group.add_argument(
        "--every",
        type=float,
        default=Options.every,
        metavar="SECONDS",
        help="least time between two samples (default: %(default)s)",
    )
    group.add_argument(
        "--hold-out",
        type=float,
        default=Options.hold_out,
        metavar="PART",
        help=f"write the last part of the recording (0.2: a fifth) to OUTPUT{VALIDATION_SUFFIX} as a set of its own, "
        f"{GAP_S:g} s after the rest (default: nothing)",
    )
    group.add_argument(
        "--depth-range",
        type=float,
        nargs=2,
        metavar=("NEAR", "FAR"),
        help="depth that counts, m (default: 0.1 10; LiDAR: 0.5 80)",
    )
    group.add_argument("--jpeg", action="store_true", help="write pictures as JPEG (quality 95) instead of PNG")
