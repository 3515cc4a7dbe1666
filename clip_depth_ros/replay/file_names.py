"""What the names of picture files say: their order, which belong together, and when they were taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

_KIND_WORDS = re.compile(r"[._-]?(rgb|colou?r|image|depth|pose)", re.IGNORECASE)
_SECONDS = re.compile(r"(\d{9,10})\.(\d{1,9})")  # 1305031102.175304, as TUM names pictures
_NANOSECONDS = re.compile(r"\d{18,19}")


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sorts ``frame_10`` after ``frame_9``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.stem)]


def key(path: Path) -> str:
    """Returns what a picture, its depth and its pose have in common: ``a_rgb.png`` and ``a_depth.png`` give ``a``."""
    return _KIND_WORDS.sub("", path.stem).lower()


def by_key(paths: Sequence[Path]) -> dict[str, int]:
    """Returns the position of each path by its :func:`key`; nothing when two have the same."""
    positions = {key(path): position for position, path in enumerate(paths)}
    return positions if len(positions) == len(paths) else {}


def stamps_ns(paths: Sequence[Path]) -> tuple[int, ...]:
    """Returns the time stamps (nanoseconds) that the names of ``paths`` are, rising; empty when one is none."""
    stamps = [_stamp(path.stem) for path in paths]
    if any(stamp is None for stamp in stamps):
        return ()
    times = tuple(stamp for stamp in stamps if stamp is not None)
    return times if all(before < after for before, after in pairwise(times)) else ()


def _stamp(name: str) -> int | None:
    seconds = _SECONDS.fullmatch(name)
    if seconds:
        return int(seconds[1]) * 1_000_000_000 + int(seconds[2].ljust(9, "0"))
    return int(name) if _NANOSECONDS.fullmatch(name) else None
