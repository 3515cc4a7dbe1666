"""Sizes as people write them."""

from __future__ import annotations

from clip_depth_ros.errors import BadInput


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Returns ``HEIGHTxWIDTH``, given as ``option``, as (height, width) in pixels.

    Raises:
        BadInput: it is something else.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and 0 < int(part) <= 8192 for part in parts):
        raise BadInput(f"{option} is {text!r}: give HEIGHTxWIDTH in pixels, such as 352x704.")
    return int(parts[0]), int(parts[1])
