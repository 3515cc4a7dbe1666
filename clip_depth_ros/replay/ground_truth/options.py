"""Options that say where a recording's pictures and its depth are, and how the two go together."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from clip_depth_ros.errors import BadInput

_Options = TypeVar("_Options", bound="TruthOptions")


@dataclass(frozen=True)
class TruthOptions:
    """What the user asked for; :func:`add_topic_arguments` and its neighbours say what each means."""

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
    every: float = 0.0
    accumulate: int = 1
    occlusion: float = 0.1
    occlusion_pixels: int = 3

    @classmethod
    def of(cls: type[_Options], arguments: argparse.Namespace) -> _Options:
        """Returns the options of a command line.

        Raises:
            BadInput: a number is out of range, or options exclude each other.
        """
        options = cls(**{field.name: getattr(arguments, field.name) for field in fields(cls)})
        options.check()
        return options

    def check(self) -> None:
        """Raises BadInput where a number is out of range, or options exclude each other."""
        if self.depth and self.lidar:
            raise BadInput("--depth and --lidar exclude each other: the truth comes from one of the two.")
        if self.accumulate > 1 and not self.fixed_frame:
            raise BadInput("--accumulate needs --fixed-frame (odom, map): without it, scans cannot be put together.")
        for name, value, least in (
            ("--tolerance", self.tolerance or 0.0, 0.0),
            ("--every", self.every, 0.0),
            ("--occlusion", self.occlusion, 0.0),
            ("--occlusion-pixels", self.occlusion_pixels, 1),
            ("--accumulate", self.accumulate, 1),
        ):
            if not least <= value < float("inf"):
                raise BadInput(f"{name} is {value:g}: give a number from {least:g}.")


def add_topic_arguments(group: argparse._ArgumentGroup) -> None:
    """Adds the options that name topics."""
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


def add_geometry_arguments(group: argparse._ArgumentGroup) -> None:
    """Adds the options that say how depth gets into the pictures."""
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
        default=TruthOptions.occlusion,
        metavar="PART",
        help="drop projected points behind a nearer one close by, by more than this part of their depth; 0 keeps all "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--occlusion-pixels",
        type=int,
        default=TruthOptions.occlusion_pixels,
        metavar="N",
        help="how close by, in rows and columns, for LiDAR (default: %(default)s)",
    )
    group.add_argument(
        "--accumulate",
        type=int,
        default=TruthOptions.accumulate,
        metavar="N",
        help="scans put together for one picture; needs --fixed-frame (default: %(default)s)",
    )


def add_time_arguments(group: argparse._ArgumentGroup, every: float = TruthOptions.every) -> None:
    """Adds the options that say which pictures are taken; ``every`` is the default of that one in seconds."""
    group.add_argument(
        "--tolerance",
        type=float,
        metavar="SECONDS",
        help="longest time between picture and depth (default: 0.02; LiDAR: half its period, at most 0.05)",
    )
    group.add_argument(
        "--every",
        type=float,
        default=every,
        metavar="SECONDS",
        help="least time between two pictures that are taken (default: %(default)s)",
    )
