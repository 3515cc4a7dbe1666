"""RGB-D folders: ``rgb/``, ``depth/`` and ``intrinsics.json``."""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.index import Camera, Index, PreparedSet, evenly, root_between

CALIBRATION = "intrinsics.json"
DEPTH_RANGE_M = (0.1, 10.0)
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_KIND_WORDS = re.compile(r"[._-]?(rgb|colou?r|image|depth)", re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``prepare rgbd``."""
    parser.add_argument(
        "--range",
        type=float,
        nargs=2,
        default=DEPTH_RANGE_M,
        metavar=("MIN", "MAX"),
        help="nearest and farthest depth that count, metres (default 0.1 10)",
    )


def prepare(arguments: argparse.Namespace) -> PreparedSet:
    """Indexes a folder in place; pictures and depth are paired by their names, or else by their order.

    Raises:
        BadInput: a part is missing, the calibration is damaged, or pictures and depth cannot be paired.
    """
    near, far = arguments.range
    if not 0 <= near < far < math.inf:
        raise BadInput(f"--range is {near} {far}: give the nearest and the farthest depth in metres.")
    return rgbd_set(
        arguments.source,
        arguments.output,
        name=arguments.name,
        split=arguments.split,
        depth_range=(near, far),
        limit=arguments.limit,
        skip_bad=arguments.skip_bad,
    )


def is_rgbd(folder: Path) -> bool:
    """Says whether a folder has the parts of an RGB-D folder."""
    return (folder / CALIBRATION).is_file() and (folder / "rgb").is_dir() and (folder / "depth").is_dir()


def rgbd_set(
    source: Path,
    output: Path,
    *,
    name: str = "",
    split: str = "",
    depth_range: tuple[float, float] = DEPTH_RANGE_M,
    limit: int | None = None,
    skip_bad: bool = False,
) -> PreparedSet:
    """Returns the set of an RGB-D folder, not finished; nothing is written or read but the calibration.

    Raises:
        BadInput: a part is missing, the calibration is damaged, or pictures and depth cannot be paired.
    """
    camera, size, scale = _calibration(source / CALIBRATION)
    index = Index(
        kind="rgbd",
        name=name or source.resolve().name,
        split=split,
        root=root_between(source, output),
        depth_units_per_metre=scale,
        depth_range_m=depth_range,
        source=f"The RGB-D folder {source.resolve().name}.",
    )
    prepared = PreparedSet(output, index, skip_bad=skip_bad, camera_size=size)
    pairs = _paired(_listed(source / "rgb"), _listed(source / "depth"), prepared)
    if limit is not None and limit < len(pairs):
        index.limited_from = len(pairs)
    for number in evenly(len(pairs), limit):
        image, depth = pairs[number]
        prepared.add(f"rgb/{image.name}", f"depth/{depth.name}", camera)
    return prepared


def _listed(folder: Path) -> list[Path]:
    """Returns the pictures of a folder in the order of the numbers in their names."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is missing: an RGB-D folder holds rgb/, depth/ and {CALIBRATION}.")
    files = [file for file in folder.iterdir() if file.suffix.lower() in _PICTURES]
    if not files:
        raise BadInput(f"{folder} is empty: an RGB-D folder holds at least one picture and its depth.")
    return sorted(files, key=_natural_order)


def _paired(images: list[Path], depths: list[Path], prepared: PreparedSet) -> list[tuple[Path, Path]]:
    """Returns the pairs of one name, or of one place in the order where no names agree."""
    by_name = {_key(file): file for file in depths}
    names = [_key(image) for image in images]
    common = set(names) & set(by_name)
    if not common or len(by_name) < len(depths) or len(set(names)) < len(names):
        if len(images) != len(depths):
            raise BadInput(
                f"{images[0].parent} holds {len(images)} pictures but {depths[0].parent} {len(depths)}, and their "
                "names do not tell which belong together: remove what has no partner."
            )
        return list(zip(images, depths))
    for file in [*images, *depths]:
        if _key(file) not in common:
            prepared.skip(file, "has no partner of its name in " + ("depth/" if file in images else "rgb/"))
    return [(image, by_name[name]) for image, name in zip(images, names) if name in common]


def _key(file: Path) -> str:
    """Returns what the names of a picture and its depth have in common."""
    return _KIND_WORDS.sub("", file.stem).lower()


def _natural_order(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.stem)]


def _calibration(file: Path) -> tuple[Camera, tuple[int, int] | None, float]:
    """Returns the camera, the size of its pictures where the file says it, and the depth units a metre."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        fx, fy, cx, cy = (float(values[name]) for name in ("fx", "fy", "cx", "cy"))
        scale = float(values["depth_scale_units_per_metre"])
        size = (int(values["width"]), int(values["height"])) if "width" in values and "height" in values else None
        if not all(0 < value < math.inf for value in (fx, fy, scale)) or not math.isfinite(cx + cy):
            raise ValueError("fx, fy and the depth scale must be above 0, and cx and cy numbers")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{file} is not a calibration ({type(error).__name__}: {error}): it needs fx, fy, cx, cy and "
            "depth_scale_units_per_metre."
        ) from error
    return (fx, fy, cx, cy), size, scale
