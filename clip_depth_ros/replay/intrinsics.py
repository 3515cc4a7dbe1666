"""Calibration files of pictures: this project's JSON, camera_info_manager's YAML, and a matrix as plain text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.errors import BadInput

_MATRIX_SIZES = {9: (3, 3), 12: (3, 4), 16: (4, 4)}


@dataclass(frozen=True)
class Calibration:
    """What a calibration file says.

    Attributes:
        camera: of pictures of the size it was asked for, or of its own where the file names one.
        depth_scale: units a metre of 16-bit depth files; None where the file does not say.
    """

    camera: CameraModel
    depth_scale: float | None = None


def read_calibration(path: Path, size: tuple[int, int]) -> Calibration:
    """Reads a calibration.

    Args:
        path: ``.json`` with ``fx fy cx cy`` in pixels and, optionally, ``width``, ``height`` and
            ``depth_scale_units_per_metre``; ``.txt`` with a 3x3, 3x4 or 4x4 matrix K, or ``fx fy cx cy``; else
            camera_info_manager's YAML.
        size: width and height of the pictures, for files that name none.

    Raises:
        BadInput: it does not exist, is none of these, or is of pictures of another size.
    """
    if not path.is_file():
        raise BadInput(
            f"{path} does not exist: give an intrinsics.json, a matrix as .txt, or camera_info_manager's YAML."
        )
    if path.suffix.lower() == ".json":
        return _from_json(path, size)
    if path.suffix.lower() == ".txt":
        fx, fy, cx, cy = _from_text(path)
        return Calibration(_pinhole(path, size, fx, fy, cx, cy))
    return Calibration(CameraModel.from_yaml(path))


def read_matrix(path: Path) -> np.ndarray:
    """Returns a ``(4, 4)`` float64 matrix from a text file.

    Raises:
        BadInput: it cannot be read, or does not hold 16 numbers.
    """
    numbers = _numbers(path)
    if numbers.size != 16:
        raise BadInput(f"{path} holds {numbers.size} numbers: it should be a 4x4 matrix.")
    return numbers.reshape(4, 4)


def _from_json(path: Path, size: tuple[int, int]) -> Calibration:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        fx, fy, cx, cy = (float(content[name]) for name in ("fx", "fy", "cx", "cy"))
        scale = content.get("depth_scale_units_per_metre")
        scale = None if scale is None else float(scale)
        named = "width" in content and "height" in content
        if named:
            size = int(content["width"]), int(content["height"])
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        AttributeError,
    ) as error:
        raise BadInput(
            f"{path} is not an intrinsics file ({type(error).__name__}: {error}): it needs fx, fy, cx, cy in pixels."
        ) from error
    return Calibration(_pinhole(path, size, fx, fy, cx, cy), scale)


def _from_text(path: Path) -> tuple[float, float, float, float]:
    """Returns fx, fy, cx, cy."""
    numbers = _numbers(path)
    if numbers.size == 4:
        fx, fy, cx, cy = numbers.tolist()
        return fx, fy, cx, cy
    if numbers.size not in _MATRIX_SIZES:
        raise BadInput(f"{path} holds {numbers.size} numbers: it should be a matrix K of 3x3 or 4x4, or fx fy cx cy.")
    k = numbers.reshape(_MATRIX_SIZES[numbers.size])
    if k[0, 1] or k[1, 0] or k[2, :3].tolist() != [0, 0, 1]:
        raise BadInput(f"{path} is not of the form [fx 0 cx; 0 fy cy; 0 0 1]: give the matrix K of a pinhole camera.")
    return float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2])


def _pinhole(path: Path, size: tuple[int, int], fx: float, fy: float, cx: float, cy: float) -> CameraModel:
    width, height = size
    if not (fx > 0 and fy > 0):
        raise BadInput(f"{path} has the focal lengths {fx:g} and {fy:g}: both must be above 0 pixels.")
    if not (0 < cx < width and 0 < cy < height):
        raise BadInput(
            f"{path} has the principal point ({cx:g}, {cy:g}), outside of pictures of {width}x{height}: give the "
            "calibration of these pictures, scaled as they are."
        )
    try:
        return CameraModel.pinhole(width, height, fx, fy, cx, cy)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def _numbers(path: Path) -> np.ndarray:
    """Returns every number in a text file, ``(N,)`` float64."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        words = " ".join(line.partition("#")[0] for line in lines).replace(",", " ").split()
        return np.array([float(word) for word in words], np.float64)
    except (OSError, ValueError) as error:  # a wrong encoding is a ValueError
        raise BadInput(f"{path} cannot be read as a matrix ({error}): it should hold numbers only.") from error
