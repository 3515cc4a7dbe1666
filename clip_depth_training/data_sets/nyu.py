"""NYU Depth V2 in the "sync" layout: pictures with synchronised depth, named by a list file."""

from __future__ import annotations

import argparse
from pathlib import Path

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.crops import CROPS
from clip_depth_training.data_sets.index import Camera, Index, PreparedSet, root_between
from clip_depth_training.data_sets.lists import read_list

CAMERA: Camera = (518.8579, 519.4696, 325.5824, 253.7362)
"""Of the colour camera, in pixels of its 640x480 pictures, as the data set's authors publish it."""
CAMERA_SIZE = (640, 480)
DEPTH_RANGE_M = (0.001, 10.0)
_UNITS_PER_METRE = 1000.0
_TEST_SAMPLES = 654


def camera(focal: float) -> Camera:
    """Returns the colour camera with a list's focal length as fx; fy keeps its ratio to fx."""
    fx, fy, cx, cy = CAMERA
    return (focal, focal * fy / fx, cx, cy)


def add_cut(parser: argparse.ArgumentParser) -> None:
    """Declares ``--cut``, which both layouts of NYU have."""
    parser.add_argument(
        "--cut",
        action="store_true",
        help="cut pictures, depth and principal point to rows 56 to 472 and columns 60 to 604, which is what the "
        "networks of DepthCLIP and DepthBLIP-2 see (default: whole pictures)",
    )


def cut_of(arguments: argparse.Namespace) -> tuple[str | None, str, str]:
    """Returns what ``--cut`` means: an index's ``crop``, what the name ends with, and what its source ends with."""
    return ("nyu", ", cut", f", cut to {CROPS['nyu']}") if arguments.cut else (None, "", "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``prepare nyu-sync``."""
    parser.add_argument(
        "--list",
        type=Path,
        required=True,
        metavar="FILE",
        help="list file: `picture depth focal` on each line, relative to SOURCE; depth is 16-bit PNG in millimetres",
    )
    add_cut(parser)


def prepare(arguments: argparse.Namespace) -> PreparedSet:
    """Indexes the pictures that a list names, in place.

    Raises:
        BadInput: the source or the list is missing, or the list is empty or damaged.
    """
    source: Path = arguments.source
    if not source.is_dir():
        raise BadInput(f"{source} is not a folder: give the folder that the list's files are in.")
    crop, name_end, source_end = cut_of(arguments)
    index = Index(
        kind="nyu_sync",
        name=arguments.name or f"NYU Depth V2 {arguments.split}".strip() + name_end,
        split=arguments.split,
        root=root_between(source, arguments.output),
        depth_units_per_metre=_UNITS_PER_METRE,
        depth_range_m=DEPTH_RANGE_M,
        crop=crop,
        source="NYU Depth V2 (Silberman et al., 2012), synchronised pictures of the list "
        f"{arguments.list.name}{source_end}.",
    )
    prepared = PreparedSet(arguments.output, index, skip_bad=arguments.skip_bad, camera_size=CAMERA_SIZE)
    lines, index.without_ground_truth = read_list(arguments.list, prepared, arguments.limit)
    for line in lines:
        prepared.add(line.image, line.depth, camera(line.focal))
    listed = index.limited_from or len(lines)
    if arguments.split == "test" and listed != _TEST_SAMPLES:
        index.notes.append(f"The official test list has {_TEST_SAMPLES} lines; this one has {listed}.")
    return prepared
