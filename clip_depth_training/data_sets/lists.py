"""The list files of NYU and KITTI: a picture, its depth and the focal length on each line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.index import PreparedSet, evenly

_FORM = "picture, depth and focal length in pixels"


@dataclass(frozen=True)
class Line:
    """One line of a list: files as written but for a leading slash; depth None where the list says ``None``."""

    image: str
    depth: str | None
    focal: float


def read_list(file: Path, prepared: PreparedSet, limit: int | None) -> tuple[list[Line], list[str]]:
    """Reads a list.

    Args:
        file: the list.
        prepared: the set, which is told of lines that are none, and of the limit.
        limit: how many of the lines with ground truth to take, spread evenly; None for all.

    Returns:
        The lines with ground truth, and the pictures without.

    Raises:
        BadInput: the list is missing, is no text or is empty, or a line is not of the form (without ``--skip-bad``).
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{file} cannot be read ({error.strerror or error}): give the list file with --list.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is no text: give a list whose lines are {_FORM}.") from error
    lines: list[Line] = []
    for number, content in enumerate(text.splitlines(), 1):
        if not content.strip():
            continue
        line = _parsed(content)
        if line is None:
            prepared.skip(f"{file} line {number}", f"is {content.strip()[:80]!r}, not {_FORM}")
        else:
            lines.append(line)
    if not lines and not prepared.index.skipped:
        raise BadInput(f"{file} is empty: give a list whose lines are {_FORM}.")
    measured = [line for line in lines if line.depth is not None]
    if limit is not None and limit < len(measured):
        prepared.index.limited_from = len(measured)
    return [measured[number] for number in evenly(len(measured), limit)], [
        line.image for line in lines if line.depth is None
    ]


def _parsed(content: str) -> Line | None:
    """Returns a line, or None where it is not of the form."""
    words = content.split()
    if len(words) != 3:
        return None
    image, depth, number = words
    try:
        focal = float(number)
    except ValueError:
        return None
    if not 0 < focal < math.inf:
        return None
    return Line(image.lstrip("/"), None if depth == "None" else depth.lstrip("/"), focal)
