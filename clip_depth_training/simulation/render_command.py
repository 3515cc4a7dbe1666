"""``clip-depth-train render``: rooms to train on, or a walk through rooms."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import require_space
from clip_depth_ros.progress import track
from clip_depth_training.simulation.render import RenderConfig
from clip_depth_training.simulation.room_set import prepare_folder, render_rooms
from clip_depth_training.simulation.sensor import LEVELS
from clip_depth_training.simulation.walk import WalkConfig, write_walk

_SMALLEST, _LARGEST = 32, 640  # pixels; three times that must fit MuJoCo's buffer
_SPARE_SPACE = 1 << 30  # bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``render``."""
    parser.add_argument("--rooms", type=int, default=100, help="number of rooms (default 100)")
    parser.add_argument("--views", type=int, default=12, help="views of each room; with --walk, frames (default 12)")
    parser.add_argument("--size", default="160x120", help="picture size in pixels, WIDTHxHEIGHT (default 160x120)")
    parser.add_argument("--seed", type=int, default=0, help="seed; sets of different seeds share no room (default 0)")
    parser.add_argument(
        "--fov", default="40:110", help="horizontal field of view in degrees, LOW:HIGH (default 40:110)"
    )
    parser.add_argument(
        "--sensor",
        choices=LEVELS,
        default="mild",
        help="lens distortion, exposure, vignetting, noise and blur of the pictures; a walk has none (default mild)",
    )
    parser.add_argument(
        "--aspects",
        default="",
        help="cameras' aspect ratios that pictures are squeezed from, as an encoder's square input is: 4:3,16:9",
    )
    parser.add_argument(
        "--walk", action="store_true", help="write smooth walks as one RGB-D folder (rgb, depth in mm, poses)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        help="folder; a set that was interrupted is continued, or grows with --rooms",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs ``render``."""
    width, height = (int(value) for value in _numbers(arguments.size, "x", 2, "--size", "WIDTHxHEIGHT in pixels"))
    low, high = _numbers(arguments.fov, ":", 2, "--fov", "LOW:HIGH in degrees")
    if not (_SMALLEST <= width <= _LARGEST and _SMALLEST <= height <= _LARGEST):
        raise BadInput(f"--size is {arguments.size}: width and height must be {_SMALLEST} to {_LARGEST} pixels.")
    if not 10 <= low <= high <= 120:
        raise BadInput(f"--fov is {arguments.fov}: it must be LOW:HIGH between 10 and 120 degrees.")
    for name in ("rooms", "views", "workers"):
        if getattr(arguments, name) < 1:
            raise BadInput(f"--{name} is {getattr(arguments, name)}: it must be at least 1.")
    if arguments.walk:
        config = WalkConfig(
            arguments.rooms, arguments.views, width, height, arguments.seed, field_of_view=(low + high) / 2
        )
        print(f"{write_walk(config, arguments.output)} frames in {arguments.output}")
        return 0
    aspects = tuple(
        a / b
        for a, b in (
            _numbers(pair, ":", 2, "--aspects", "like 4:3,16:9") for pair in arguments.aspects.split(",") if pair
        )
    )
    config_set = RenderConfig(
        arguments.rooms, arguments.views, width, height, arguments.seed, aspects, (low, high), arguments.sensor
    )
    needed = config_set.rooms * config_set.views * width * height * 5 // 2
    require_space(arguments.output, needed, spare=_SPARE_SPACE)
    missing, views, name = prepare_folder(config_set, arguments.output), 0, ""
    finished = render_rooms(config_set, arguments.output, arguments.workers)
    for _, views, name in track(finished, "rendering rooms", total=len(missing)):  # noqa: B007 the last is what counts
        pass
    drawn = f", drawn by {name}" if name else ""
    print(f"{views} new views{drawn}; {arguments.output} holds {arguments.rooms} rooms")
    return 0


def _numbers(text: str, separator: str, count: int, option: str, form: str) -> list[float]:
    """Returns the numbers in an option's text."""
    try:
        values = [float(part) for part in text.split(separator)]
    except ValueError:
        values = []
    if len(values) != count or min(values) <= 0:
        raise BadInput(f"{option} has {text!r}: it must be {form}.")
    return values
