"""Where the camera was at each picture: trajectories and matrices as public RGB-D data sets publish them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.file_names import by_key, natural_order

_ROTATION_TOLERANCE = 0.02  # files round: entries of R R^T may be this far from the identity's
_MATRIX_WORDS = (12, 16)


@dataclass(frozen=True)
class Poses:
    """The camera's pose at each picture.

    Attributes:
        matrices: camera-to-world ``(4, 4)`` float64 in metres, axes as REP 103's optical frame (x right, y down, z
            forward); None where there is none.
        invalid: poses in the source that were none: NaN, infinite, or no rotation.
        missing: pictures for which the source has no pose.
    """

    matrices: tuple[np.ndarray | None, ...]
    invalid: int
    missing: int


def read_poses(path: Path, pictures: Sequence[Path], stamps_ns: Sequence[int]) -> Poses:
    """Reads the poses of some pictures.

    Args:
        path: a folder of text files with a 4x4 matrix each, or a text file: a TUM trajectory (``stamp tx ty tz qx qy
            qz qw`` in a line), a matrix in a line (12 or 16 numbers, after the picture's name or not), or 4x4
            matrices one below the other. Matrices are camera-to-world, row by row.
        pictures: the files; matrices are matched by name, or by order where no names agree and there are as many.
        stamps_ns: their time stamps (nanoseconds), empty where unknown; a trajectory is interpolated at them.

    Raises:
        BadInput: it is none of these, cannot be matched, or has no valid pose of these pictures.
    """
    if path.is_dir():
        poses = _matched(_folder(path), pictures, path)
    elif path.is_file():
        poses = _file(path, pictures, stamps_ns)
    else:
        raise BadInput(f"{path} does not exist: give a trajectory, or a folder or file of camera-to-world matrices.")
    if all(matrix is None for matrix in poses.matrices):
        raise BadInput(
            f"{path} has no valid pose of any of the {len(pictures)} pictures ({poses.invalid} of its poses are none): "
            "give their camera-to-world poses, or leave them out."
        )
    return poses


def _folder(path: Path) -> list[tuple[str, np.ndarray]]:
    files = sorted((file for file in path.iterdir() if file.suffix.lower() == ".txt"), key=natural_order)
    if not files:
        raise BadInput(f"{path} holds no .txt files: it should have a 4x4 matrix for each picture.")
    named = []
    for file in files:
        numbers = _floats([word for line in _lines(file) for word in line], file)
        if len(numbers) not in _MATRIX_WORDS:
            raise BadInput(f"{file} holds {len(numbers)} numbers: it should be a 4x4 matrix.")
        named.append((file.name, _matrix(numbers)))
    return named


def _file(path: Path, pictures: Sequence[Path], stamps_ns: Sequence[int]) -> Poses:
    lines = _lines(path)
    widths = {len(line) for line in lines}
    if len(widths) == 1:
        (width,) = widths
        if width == 8:
            return _trajectory(path, lines, stamps_ns)
        if width == 4 and len(lines) % 4 == 0:
            blocks = [[*chain.from_iterable(lines[top : top + 4])] for top in range(0, len(lines), 4)]
            return _matched([("", _matrix(_floats(block, path))) for block in blocks], pictures, path)
        if width in _MATRIX_WORDS:
            return _matched([("", _matrix(_floats(line, path))) for line in lines], pictures, path)
        if width - 1 in _MATRIX_WORDS:
            return _matched([(line[0], _matrix(_floats(line[1:], path))) for line in lines], pictures, path)
    raise BadInput(
        f"{path} has lines of {', '.join(map(str, sorted(widths))) or 'no'} words: each should be stamp tx ty tz qx qy "
        "qz qw, or a camera-to-world matrix of 12 or 16 numbers."
    )


def _trajectory(path: Path, lines: list[list[str]], stamps_ns: Sequence[int]) -> Poses:
    from clip_depth_ros.replay.ground_truth.transforms import NoTransformError, TransformBuffer

    if not stamps_ns:
        raise BadInput(
            f"{path} is a trajectory over time, but the pictures have no time stamps: give TUM's folder with its "
            "rgb.txt, or poses by picture."
        )
    buffer = TransformBuffer()
    for line in lines:
        stamp, *pose = _floats(line, path)
        if not np.isfinite(stamp):
            buffer.ignored += 1
            continue
        buffer.add("map", "camera", stamp_ns(line[0]), pose[:3], pose[3:])
    if not buffer.has("camera"):
        return Poses((None,) * len(stamps_ns), buffer.ignored, len(stamps_ns))
    matrices: list[np.ndarray | None] = []
    for time in stamps_ns:
        try:
            matrices.append(buffer.lookup("map", "camera", time))
        except NoTransformError:
            matrices.append(None)
    return Poses(tuple(matrices), buffer.ignored, sum(matrix is None for matrix in matrices))


def _matched(named: list[tuple[str, np.ndarray]], pictures: Sequence[Path], path: Path) -> Poses:
    """Gives each picture its matrix, by name or by order."""
    found = by_key([Path(name) for name, _ in named]) if all(name for name, _ in named) else {}
    wanted = by_key(pictures)
    if found.keys() & wanted.keys():
        numbers = {position: found.get(key) for key, position in wanted.items()}
    elif len(named) == len(pictures) and not (found and path.is_file()):
        numbers = {position: position for position in range(len(pictures))}
    elif found and path.is_file():
        raise BadInput(f"{path} names none of the pictures in {pictures[0].parent}: {named[0][0]} is its first.")
    else:
        raise BadInput(
            f"{path} has {len(named)} poses for {len(pictures)} pictures, and no names that agree: give one for each."
        )
    matrices: list[np.ndarray | None] = [None] * len(pictures)
    invalid = missing = 0
    for position, number in numbers.items():
        if number is None:
            missing += 1
        elif _is_pose(named[number][1]):
            matrices[position] = named[number][1]
        else:
            invalid += 1
    return Poses(tuple(matrices), invalid, missing)


def _is_pose(matrix: np.ndarray) -> bool:
    rotation = matrix[:3, :3]
    if not np.isfinite(matrix).all() or np.linalg.det(rotation) <= 0:
        return False
    return bool(np.abs(rotation @ rotation.T - np.eye(3)).max() < _ROTATION_TOLERANCE)


def _matrix(numbers: Sequence[float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[: len(numbers) // 4] = np.reshape(numbers, (-1, 4))
    return matrix


def stamp_ns(word: str) -> int:
    """Returns a time stamp in seconds, as text, in whole nanoseconds; a float would lose the last digits.

    Raises:
        ValueError: it is no number.
    """
    sign = -1 if word.startswith("-") else 1
    whole, dot, fraction = word.lstrip("+-").partition(".")
    if not whole.isdigit() or (dot and not fraction.isdigit()):
        return round(float(word) * 1e9)  # 1.3e9, and what is no number
    return sign * (int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, "0")))


def _lines(path: Path) -> list[list[str]]:
    """Returns the words of every line that has any; what follows a # is left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as text ({error}): give a file of poses.") from error
    lines = (line.partition("#")[0].replace(",", " ").split() for line in text.splitlines())
    return [line for line in lines if line]


def _floats(words: Sequence[str], path: Path) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise BadInput(f"{path} is not a file of poses ({error}): it should hold numbers only.") from error
