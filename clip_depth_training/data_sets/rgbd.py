"""RGB-D folders (``rgb/``, ``depth/``, ``intrinsics.json``) as ground truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput


@dataclass(frozen=True)
class Pair:
    """One picture (H, W, 3) uint8 RGB with depth (H, W) float32 metres (0 = no reading) and K (3, 3) in pixels."""

    image: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray


def read_pairs(folder: Path) -> Iterator[Pair]:
    """Yields the pictures of ``folder`` with their depth, paired in the order of their names.

    Raises:
        BadInput: a part is missing or damaged, depth is not 16-bit, or sizes or numbers differ.
    """
    intrinsics, scale = _intrinsics(folder / "intrinsics.json")
    images, depths = _listed(folder / "rgb"), _listed(folder / "depth")
    if len(images) != len(depths) or not images:
        raise BadInput(
            f"{folder} holds {len(images)} pictures in rgb/ and {len(depths)} in depth/: they must be as many, and at "
            "least one."
        )
    for image_file, depth_file in zip(images, depths):
        image, depth = cv2.imread(str(image_file)), cv2.imread(str(depth_file), cv2.IMREAD_UNCHANGED)
        if image is None or depth is None:
            raise BadInput(f"{image_file if image is None else depth_file} cannot be read as a picture: copy it again.")
        if depth.dtype != np.uint16 or depth.shape != image.shape[:2]:
            raise BadInput(
                f"{depth_file} is {depth.dtype} {depth.shape}: depth must be 16-bit and of the size of "
                f"{image_file.name}, {image.shape[:2]}."
            )
        yield Pair(np.ascontiguousarray(image[..., ::-1]), depth.astype(np.float32) / scale, intrinsics)


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise BadInput(f"{folder} is missing: an RGB-D folder holds rgb/, depth/ and intrinsics.json.")
    return sorted((file for file in folder.iterdir() if file.suffix.lower() in (".png", ".jpg", ".jpeg")), key=_number)


def _number(file: Path) -> tuple[str, int, str]:
    """Returns a key that sorts names by the number in them, as recordings number their frames."""
    digits = "".join(character for character in file.stem if character.isdigit())
    return (file.stem.rstrip("0123456789._").rstrip("."), int(digits or 0), file.stem)


def _intrinsics(file: Path) -> tuple[np.ndarray, float]:
    """Returns K and the depth units a metre."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        fx, fy, cx, cy = (float(values[name]) for name in ("fx", "fy", "cx", "cy"))
        scale = float(values["depth_scale_units_per_metre"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{file} is not a calibration ({type(error).__name__}: {error}): it needs fx, fy, cx, cy and "
            "depth_scale_units_per_metre."
        ) from error
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), scale
