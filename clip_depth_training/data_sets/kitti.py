"""KITTI, Eigen split: raw pictures with annotated depth, named by a list file."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.index import Camera, Index, PreparedSet, root_between
from clip_depth_training.data_sets.lists import read_list

CALIBRATION = "calib_cam_to_cam.txt"
_UNITS_PER_METRE = 256.0
_DEPTH_RANGE_M = (0.001, 80.0)
_TEST_LINES, _TEST_WITHOUT = 697, 45
_DATE = re.compile(r"^\d{4}_\d\d_\d\d/")
_CAMERA = re.compile(r"/image_(0[0-3])/")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``prepare kitti``."""
    parser.add_argument(
        "--list",
        type=Path,
        required=True,
        metavar="FILE",
        help="list file: `picture depth focal` on each line; depth None = no ground truth",
    )
    parser.add_argument("--images", type=Path, metavar="ROOT", help="folder of the raw dates (default: SOURCE)")
    parser.add_argument(
        "--depth",
        type=Path,
        metavar="ROOT",
        help="folder of the annotated depth, as the list names it or under train/ and val/ (default: SOURCE)",
    )
    parser.add_argument(
        "--crop",
        choices=("none", "kb"),
        default="none",
        help="kb: the KITTI benchmark crop, the bottom 352 rows and the middle 1216 columns (default none)",
    )


def prepare(arguments: argparse.Namespace) -> PreparedSet:
    """Indexes the pictures that a list names, in place.

    Raises:
        BadInput: a folder or the list is missing, the list is empty or damaged, or a calibration is.
    """
    images, depth = arguments.images or arguments.source, arguments.depth or arguments.source
    for folder in (arguments.source, images, depth):
        if not folder.is_dir():
            raise BadInput(f"{folder} is not a folder: give the folders of the raw pictures and of the depth.")
    images, depth = images.resolve(), depth.resolve()
    root = Path(os.path.commonpath([images, depth]))
    index = Index(
        kind="kitti_eigen",
        name=arguments.name or f"KITTI Eigen {arguments.split}".strip(),
        split=arguments.split,
        root=root_between(root, arguments.output),
        depth_units_per_metre=_UNITS_PER_METRE,
        depth_range_m=_DEPTH_RANGE_M,
        crop=None if arguments.crop == "none" else arguments.crop,
        source="KITTI raw (Geiger et al., 2013) with annotated depth (Uhrig et al., 2017), pictures of the list "
        f"{arguments.list.name}.",
    )
    prepared = PreparedSet(arguments.output, index, skip_bad=arguments.skip_bad)
    lines, without = read_list(arguments.list, prepared, arguments.limit)
    index.without_ground_truth = [_relative(images / image, root) for image in without]
    cameras = _Cameras(images)
    for line in lines:
        assert line.depth is not None  # read_list gives those apart
        found = _depth_file(depth, line.depth)
        if found is None:
            prepared.skip(depth / line.depth, "is missing, also under train/ and val/")
        else:
            camera = cameras.of(line.image) or (line.focal, line.focal, None, None)
            prepared.add(_relative(images / line.image, root), _relative(found, root), camera)
    listed = (index.limited_from or len(lines)) + len(without)
    if arguments.split == "test" and (listed, len(without)) != (_TEST_LINES, _TEST_WITHOUT):
        index.notes.append(
            f"The Eigen test list has {_TEST_LINES} lines, {_TEST_WITHOUT} of them without ground truth; this one has "
            f"{listed} and {len(without)}."
        )
    return prepared


def _depth_file(root: Path, name: str) -> Path | None:
    """Returns a depth file of a list, wherever the annotated depth keeps its drive; None where it is nowhere."""
    names = (name, _DATE.sub("", name))
    return next(
        (file for part in names for folder in ("", "train", "val") if (file := root / folder / part).is_file()), None
    )


def _relative(file: Path, root: Path) -> str:
    return Path(os.path.relpath(file, root)).as_posix()


class _Cameras:
    """The rectified cameras of the dates, each calibration read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[str, str], Camera | None] = {}

    def of(self, image: str) -> Camera | None:
        """Returns the camera of a picture of a list, or None where there is no calibration beside it.

        Raises:
            BadInput: the calibration does not hold the camera.
        """
        camera = _CAMERA.search(f"/{image}")
        if camera is None:
            return None
        key = (image.split("/", 1)[0], camera.group(1))
        if key not in self._known:
            self._known[key] = _read_camera(self._root / key[0] / CALIBRATION, f"P_rect_{key[1]}")
        return self._known[key]


def _read_camera(file: Path, name: str) -> Camera | None:
    """Returns the camera of a projection matrix ``name: 12 numbers, row by row``; None where there is no file."""
    if not file.is_file():
        return None
    try:
        pairs = (line.split(":", 1) for line in file.read_text(encoding="utf-8").splitlines() if ":" in line)
        values = [float(value) for value in dict(pairs)[name].split()]
        if len(values) != 12 or not (values[0] > 0 and values[5] > 0):
            raise ValueError(f"{name} is {values}")
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"{file} holds no {name} of 12 numbers ({type(error).__name__}: {error}): get KITTI's calibration of that "
            "date again."
        ) from error
    return values[0], values[5], values[2], values[6]
