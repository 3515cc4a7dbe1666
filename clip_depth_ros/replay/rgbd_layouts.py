"""How public RGB-D data sets are laid out: TUM's lists with time stamps, ScanNet's export, and plain folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.file_names import by_key, key, natural_order, stamps_ns
from clip_depth_ros.replay.ground_truth.pairing import pair
from clip_depth_ros.replay.intrinsics import read_calibration, read_matrix
from clip_depth_ros.replay.poses import read_poses, stamp_ns
from clip_depth_ros.replay.rgbd_folder import RgbdFolder, read_depth, read_picture

PAIR_TOLERANCE_S = 0.02
"""Longest time between a picture and its depth where both have time stamps, seconds: TUM's own."""
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_DEPTHS = frozenset({".png", ".tif", ".tiff", ".npy"})
_MILLIMETRES = 1000.0
_TUM_SCALE = 5000.0
_CALIBRATIONS = ("intrinsics.json", "camera_info.yaml")
_POSES = ("pose", "poses", "poses.txt", "poses_selected.txt", "groundtruth.txt")
_SAME_PLACE_M, _SAME_DIRECTION = 0.002, 0.002  # between colour and depth camera: less than a pixel moves at 1 m


@dataclass(frozen=True)
class Given:
    """What the user named: where things are when not where the folder is expected to have them."""

    rgb: Path | None = None
    depth: Path | None = None
    intrinsics: Path | None = None
    depth_intrinsics: Path | None = None
    poses: Path | None = None
    depth_scale: float | None = None


def find(folder: Path | None, given: Given) -> RgbdFolder:
    """Finds what a folder holds, in whichever layout it is.

    Args:
        folder: None where ``given.rgb`` says where the pictures are.
        given: overrides what is found.

    Raises:
        BadInput: something named or needed is missing, or pictures and depths cannot be paired.
    """
    if folder is None and given.rgb is None:
        raise BadInput("There are no pictures: give a folder that holds rgb/ and depth/, or name them with --rgb.")
    if folder is not None and not folder.is_dir():
        raise BadInput(f"{folder} is not a folder: give one that holds rgb/, depth/ and intrinsics.json.")
    if given.depth_scale is not None and not 0.0 < given.depth_scale < np.inf:
        raise BadInput(f"The depth scale is {given.depth_scale} units a metre: give a number above 0.")
    named = given.rgb is not None or given.depth is not None
    if folder is not None and not named and (folder / "rgb.txt").is_file():
        return _tum(folder, given)
    if folder is not None and not named and (folder / "intrinsic").is_dir():
        return _scannet(folder, given)
    return _plain(folder, given)


def _plain(folder: Path | None, given: Given) -> RgbdFolder:
    """The layout of folders of pictures: ``rgb/`` (or ``color/``), ``depth/``, ``intrinsics.json``, poses."""
    inside = [folder / name for name in ("rgb", "color")] if folder is not None else []
    rgb = given.rgb or next((path for path in inside if path.is_dir()), folder)
    assert rgb is not None
    pictures = files_in(rgb, _PICTURES, "pictures")
    depth = given.depth or (folder / "depth" if folder is not None and (folder / "depth").is_dir() else None)
    found = RgbdFolder(pictures, (), None, _MILLIMETRES, stamps_ns=stamps_ns(pictures))
    if depth is not None:
        found = _with_depth(found, files_in(depth, _DEPTHS, "depth pictures"))
    return _completed(found, folder, given, None)


def _tum(folder: Path, given: Given) -> RgbdFolder:
    """TUM RGB-D: ``rgb.txt`` and ``depth.txt`` list stamps and files, ``groundtruth.txt`` is a trajectory."""
    stamps, pictures = _list(folder / "rgb.txt")
    found = RgbdFolder(pictures, (), None, _TUM_SCALE, stamps_ns=stamps)
    if (folder / "depth.txt").is_file():
        found = _paired_by_stamp(found, *_list(folder / "depth.txt"))
    if given.intrinsics is None and _first(folder, _CALIBRATIONS) is None:
        note = (
            "TUM's lists hold no calibration and none is assumed: name that of this sequence's camera with "
            "--intrinsics (TUM publishes one each for freiburg1, 2 and 3)."
        )
        found = replace(found, notes=(*found.notes, note))
    return _completed(found, folder, given, _TUM_SCALE)


def _scannet(folder: Path, given: Given) -> RgbdFolder:
    """ScanNet's export: ``color/``, ``depth/``, ``pose/*.txt``, and ``intrinsic/intrinsic_{color,depth}.txt``."""
    inside = folder / "intrinsic"
    of_colour, of_depth = inside / "intrinsic_color.txt", inside / "intrinsic_depth.txt"
    given = replace(
        given,
        intrinsics=given.intrinsics or (of_colour if of_colour.is_file() else None),
        depth_intrinsics=given.depth_intrinsics or (of_depth if of_depth.is_file() else None),
        depth_scale=given.depth_scale or _MILLIMETRES,
    )
    places = [inside / f"extrinsic_{name}.txt" for name in ("color", "depth")]
    if all(place.is_file() for place in places):
        _require_one_place(*places)
    return _plain(folder, given)


def _require_one_place(colour: Path, depth: Path) -> None:
    """Depth pixels can be put on the picture's by the intrinsics alone only where both cameras are in one place."""
    between = np.linalg.pinv(read_matrix(colour)) @ read_matrix(depth)
    turned = np.abs(between[:3, :3] - np.eye(3)).max()
    if not (np.abs(between[:3, 3]).max() < _SAME_PLACE_M and turned < _SAME_DIRECTION):
        raise BadInput(
            f"{depth} says that the depth camera is in another place than the colour camera of {colour.name}: give "
            "depth that is registered to the pictures."
        )


def _completed(found: RgbdFolder, folder: Path | None, given: Given, known_scale: float | None) -> RgbdFolder:
    """Adds calibration, depth scale and poses."""
    notes = list(found.notes)
    calibration = given.intrinsics or _first(folder, _CALIBRATIONS)
    camera, scale = None, None
    height, width = read_picture(found.pictures[0]).shape[:2]
    if calibration is not None:
        read = read_calibration(calibration, (width, height))
        camera, scale = read.camera, read.depth_scale
    scale = next((one for one in (given.depth_scale, scale, known_scale) if one is not None), None)
    if scale is not None and not 0.0 < scale < np.inf:
        raise BadInput(f"The depth scale is {scale} units a metre: give a number above 0.")
    sixteen_bit = any(path is not None and path.suffix.lower() != ".npy" for path in found.depths)
    if scale is None and sixteen_bit:
        notes.append("Nothing says what 16-bit depth is in: millimetres are assumed (TUM's is 5000 units a metre).")
    found = replace(found, camera=camera, depth_scale=scale or _MILLIMETRES)
    if given.depth_intrinsics is not None and found.depths:
        found, note = _with_depth_camera(found, given.depth_intrinsics)
        notes.append(note)
    path = given.poses or _first(folder, _POSES)
    if path is not None and (given.poses or found.stamps_ns or path.name != "groundtruth.txt"):
        poses = read_poses(path, found.pictures, found.stamps_ns)
        found = replace(found, poses=poses.matrices)
        if poses.invalid or poses.missing:
            notes.append(
                f"{path}: {poses.invalid} poses are none (NaN, infinite, or no rotation), and {poses.missing} of "
                f"{len(found)} pictures have none."
            )
    return replace(found, notes=tuple(note for note in notes if note))


def _with_depth_camera(found: RgbdFolder, path: Path) -> tuple[RgbdFolder, str]:
    """Adds the depth pictures' own intrinsics, and a sentence where their pixels are not the pictures'."""
    picture = found.camera
    if picture is None:
        raise BadInput(f"{path} is the calibration of the depth pictures, but the pictures have none: give it too.")
    first = next(depth for depth in found.depths if depth is not None)
    height, width = read_depth(first, found.depth_scale).shape
    camera = read_calibration(path, (width, height)).camera
    if (camera.width, camera.height) != (width, height):
        raise BadInput(f"{first} is {width}x{height}, but its intrinsics are for {camera.width}x{camera.height}.")
    if camera.distortion.any():
        raise BadInput(f"{path} has distortion: give depth pictures without, or registered to the pictures.")
    found = replace(found, depth_intrinsics=np.array(camera.intrinsics))
    if (width, height) == (picture.width, picture.height) and found.depth_is_aligned:
        return replace(found, depth_intrinsics=None), ""
    return found, (
        f"Depth of {width}x{height} was put on the pictures' {picture.width}x{picture.height} pixels by the intrinsics "
        "of both, the nearest reading at each."
    )


def _with_depth(found: RgbdFolder, depths: tuple[Path, ...]) -> RgbdFolder:
    """Adds the depth file of each picture: by name where the names agree, by stamp where they are stamps, by order."""
    pictures = found.pictures
    positions = by_key(depths)
    keys = [key(path) for path in pictures]
    matched = [name for name in keys if name in positions]
    if len(matched) == len(pictures) == len(depths):
        return replace(found, depths=tuple(depths[positions[name]] for name in keys))
    times = stamps_ns(depths)
    if found.stamps_ns and times:
        return _paired_by_stamp(found, times, depths)
    if len(pictures) != len(depths):
        raise BadInput(
            f"{pictures[0].parent} holds {len(pictures)} pictures, but {depths[0].parent} holds {len(depths)} depth "
            f"pictures: each picture needs one."
        )
    if matched:
        lonely = next(path for path in pictures if key(path) not in positions)
        raise BadInput(
            f"{lonely} has no depth picture of its name in {depths[0].parent}, though others have: rename it."
        )
    return replace(found, depths=depths)


def _paired_by_stamp(found: RgbdFolder, times: Sequence[int], depths: Sequence[Path]) -> RgbdFolder:
    """Adds to each picture the depth of the nearest stamp, each depth once."""
    try:
        pairs = pair(np.array(found.stamps_ns, np.int64), np.array(times, np.int64), PAIR_TOLERANCE_S)
    except BadInput as error:
        raise BadInput(
            f"No picture in {found.pictures[0].parent} has a depth in {depths[0].parent} within {PAIR_TOLERANCE_S:g} s "
            "by their time stamps: look whether both are of one recording."
        ) from error
    files: list[Path | None] = [None] * len(found)
    stamps: list[int | None] = [None] * len(found)
    for picture, partner in zip(pairs.pictures.tolist(), pairs.partners.tolist()):
        files[picture], stamps[picture] = depths[partner], times[partner]
    without = len(found) - len(pairs.pictures)
    note = (
        f"{without} of {len(found)} pictures have no depth of their own within {PAIR_TOLERANCE_S:g} s: the bag has "
        "them without."
    )
    notes = (*found.notes, note) if without else found.notes
    return replace(found, depths=tuple(files), depth_stamps_ns=tuple(stamps), notes=notes)


def _list(path: Path) -> tuple[tuple[int, ...], tuple[Path, ...]]:
    """Returns stamps (nanoseconds, rising) and files of one of TUM's lists."""
    rows: dict[int, Path] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as text ({error}): it should list time stamps and files.") from error
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split(maxsplit=1)
        if not words:
            continue
        try:
            stamp, name = stamp_ns(words[0]), words[1].strip()
        except (ValueError, IndexError, OverflowError) as error:
            raise BadInput(f"{path}, line {number}, is not a time stamp (seconds) and a file: {line!r}.") from error
        rows[stamp] = path.parent / name
    if not rows:
        raise BadInput(f"{path} lists no files: it should have a time stamp and a file in each line.")
    absent = [file for file in rows.values() if not file.is_file()]
    if absent:
        raise BadInput(
            f"{path} lists {len(rows)} files, of which {len(absent)} do not exist: {absent[0]} is the first."
        )
    stamps = tuple(sorted(rows))
    return stamps, tuple(rows[stamp] for stamp in stamps)


def _first(folder: Path | None, names: Sequence[str]) -> Path | None:
    """Returns the first of ``names`` that the folder has."""
    return None if folder is None else next((folder / name for name in names if (folder / name).exists()), None)


def files_in(folder: Path, suffixes: frozenset[str], what: str) -> tuple[Path, ...]:
    """Returns the files of a folder with one of ``suffixes`` in the order of their numbers; BadInput without any."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder: it should hold the {what}.")
    files = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
    if not files:
        raise BadInput(f"{folder} holds no {what} ({', '.join(sorted(suffixes))}).")
    return tuple(sorted(files, key=natural_order))
