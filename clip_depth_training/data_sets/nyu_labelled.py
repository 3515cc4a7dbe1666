"""The labelled part of NYU Depth V2: one MATLAB file of 1449 pictures, extracted to PNG."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import require_space
from clip_depth_ros.progress import track
from clip_depth_training.data_sets.index import Index, PreparedSet, evenly
from clip_depth_training.data_sets.nyu import CAMERA, CAMERA_SIZE, DEPTH_RANGE_M, add_cut, cut_of

_UNITS_PER_METRE = 5000.0  # 0.2 mm; the farthest is 13.1 m, beyond what the Kinect measures
_OFFICIAL = {"train": 795, "test": 654}
_BYTES_PER_PIXEL = 5  # of an 8-bit RGB and a 16-bit depth picture before compression: an upper bound


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``prepare nyu-labelled``."""
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument(
        "--splits", type=Path, metavar="FILE", help="splits.mat of the official split; takes --split train or test"
    )
    chosen.add_argument(
        "--indices", type=Path, metavar="FILE", help="text file of the frames to take, numbered from 1 as in MATLAB"
    )
    parser.add_argument(
        "--depths",
        choices=("rawDepths", "depths"),
        default="rawDepths",
        help="rawDepths: what the Kinect measured, which the usual evaluation of the 654 compares with (default); "
        "depths: the same with its holes painted in, which nobody measured",
    )
    add_cut(parser)


def prepare(arguments: argparse.Namespace) -> PreparedSet:
    """Extracts the frames of a split, one at a time.

    Raises:
        BadInput: a file is missing, damaged or not what it should be, or the disk is full.
    """
    numbers, split_file = _frames(arguments)
    crop, name_end, source_end = cut_of(arguments)
    index = Index(
        kind="nyu_labelled",
        name=arguments.name or f"NYU Depth V2 labelled {arguments.split}".strip() + name_end,
        split=arguments.split,
        root=".",
        depth_units_per_metre=_UNITS_PER_METRE,
        depth_range_m=DEPTH_RANGE_M,
        crop=crop,
        source=f"NYU Depth V2 labelled (Silberman et al., 2012), {arguments.depths}, frames of "
        f"{split_file.name}{source_end}.",
    )
    official = _OFFICIAL.get(arguments.split)
    if arguments.splits and len(numbers) != official:
        index.notes.append(f"The official {arguments.split} split has {official} frames; this one has {len(numbers)}.")
    prepared = PreparedSet(arguments.output, index, skip_bad=arguments.skip_bad, camera_size=CAMERA_SIZE)
    with _arrays(arguments.source, arguments.depths) as (images, depths):
        if max(numbers) > len(images):
            raise BadInput(
                f"{split_file} asks for frame {max(numbers)}, but {arguments.source} holds {len(images)}: give the "
                "two files of one data set."
            )
        chosen = [numbers[position] for position in evenly(len(numbers), arguments.limit)]
        index.limited_from = len(numbers) if len(chosen) < len(numbers) else 0
        require_space(arguments.output, len(chosen) * images.shape[2] * images.shape[3] * _BYTES_PER_PIXEL)
        with prepared.extracting():
            for number in track(chosen, "extracting"):
                image, depth = _frame(arguments.source, images, depths, number)
                prepared.write(f"{number:05d}", image, depth, CAMERA)
    return prepared


def _frame(file: Path, images: Any, depths: Any, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns picture (H, W, 3) uint8 and depth (H, W) metres of a frame; MATLAB's columns are HDF5's rows."""
    try:
        return images[number - 1].transpose(2, 1, 0), depths[number - 1].T
    except (OSError, RuntimeError) as error:
        raise BadInput(f"{file} is damaged at frame {number} ({error}): get it again.") from error


@contextmanager
def _arrays(file: Path, depths: str) -> Iterator[tuple[Any, Any]]:
    """Yields ``images`` (N, 3, W, H) and the depths (N, W, H), still in the file."""
    import h5py

    remedy = "give nyu_depth_v2_labeled.mat."
    if not file.is_file():
        raise BadInput(f"{file} is not a file: {remedy}")
    try:
        archive = h5py.File(file, "r")
    except OSError as error:
        raise BadInput(f"{file} is not a MATLAB file of version 7.3, or damaged ({error}): {remedy}") from error
    with archive:
        for name, axes in (("images", 4), (depths, 3)):
            if not isinstance(archive.get(name), h5py.Dataset) or archive[name].ndim != axes:
                raise BadInput(f"{file} holds no array {name} of {axes} axes: {remedy}")
        images, values = archive["images"], archive[depths]
        if images.dtype != np.uint8 or images.shape[1] != 3 or values.shape != (len(images), *images.shape[2:]):
            raise BadInput(
                f"{file} holds images {images.dtype} {images.shape} and {depths} {values.shape}, which do not belong "
                f"together: {remedy}"
            )
        yield images, values


def _frames(arguments: argparse.Namespace) -> tuple[list[int], Path]:
    """Returns the frames to take, numbered from 1, and the file that names them."""
    if arguments.indices:
        return _checked(_from_text(arguments.indices), arguments.indices), arguments.indices
    if arguments.split not in _OFFICIAL:
        raise BadInput("--splits needs --split train or --split test: say which frames to take.")
    return _checked(_from_matlab(arguments.splits, f"{arguments.split}Ndxs"), arguments.splits), arguments.splits


def _from_text(file: Path) -> list[int]:
    try:
        return [int(word) for word in file.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read as frame numbers ({error}): write one on each line.") from error


def _from_matlab(file: Path, name: str) -> list[int]:
    from scipy.io import loadmat

    remedy = "give the splits.mat of the official split."
    if not file.is_file():
        raise BadInput(f"{file} is not a file: {remedy}")
    try:
        content = loadmat(file)
    except Exception as error:  # scipy has no class of its own for a damaged file
        raise BadInput(f"{file} is not a MATLAB file that can be read ({error}): {remedy}") from error
    if name not in content:
        raise BadInput(f"{file} holds no {name}: {remedy}")
    values = np.asarray(content[name]).ravel()
    if values.dtype.kind not in "iuf":
        raise BadInput(f"{file} holds {name} of {values.dtype}, not numbers: {remedy}")
    return [int(value) for value in values]


def _checked(numbers: list[int], file: Path) -> list[int]:
    if not numbers:
        raise BadInput(f"{file} names no frame: there is nothing to take.")
    if min(numbers) < 1:
        raise BadInput(f"{file} names frame {min(numbers)}: frames are numbered from 1.")
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise BadInput(f"{file} names frame {twice} twice: name each once.")
    return numbers
