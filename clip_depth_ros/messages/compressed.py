"""What the bytes of a JPEG or PNG picture say before they are decoded: their size, and whether they are complete.

A decoder may return half a picture for half a file, and allocates whatever size the header claims; this looks first.
"""

from __future__ import annotations

import re

from clip_depth_ros.errors import BadInput

_JPEG_START = b"\xff\xd8\xff"
_PNG_START = b"\x89PNG\r\n\x1a\n"
# A marker: not a stuffed 0xFF of the coded data (0xFF00), not one of its restart marks (0xFFD0 to 0xFFD7).
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_END = 0xD9
_JPEG_WITHOUT_LENGTH = (0x01, 0xD8)
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def picture_size(data: memoryview) -> tuple[int, int]:
    """Returns ``(width, height)`` in pixels as a JPEG or PNG file states them; nothing is decoded.

    Args:
        data: the bytes of the file. Bytes after its end (some drivers send their whole buffer) are let pass.

    Raises:
        BadInput: the data are empty, no JPEG or PNG, or end before the picture does.
    """
    if not len(data):
        raise BadInput("The compressed image is empty (0 bytes): look at the driver or the link that sends it.")
    start = bytes(data[: len(_PNG_START)])
    if start.startswith(_JPEG_START):
        kind, size = "JPEG", _jpeg_size(data)
    elif start == _PNG_START:
        kind, size = "PNG", _png_size(data)
    else:
        raise BadInput(
            f"The compressed image of {len(data)} bytes is neither JPEG nor PNG (it starts with "
            f"{start.hex(' ')}): publish one of the two."
        )
    if size is None:
        raise BadInput(
            f"The {kind} image is truncated: its {len(data)} bytes hold no end of picture; look at the driver "
            f"or the link that sends it."
        )
    return size


def _jpeg_size(data: memoryview) -> tuple[int, int] | None:
    """Walks the segments to the end marker. Those of an embedded thumbnail lie inside a segment: they do not count."""
    size = None
    position = 2
    while (found := _JPEG_MARKER.search(data, position)) is not None:
        position = found.end()
        marker = data[position - 1]
        if marker == _JPEG_END:
            return size
        if marker in _JPEG_WITHOUT_LENGTH:
            continue
        if marker in _JPEG_FRAMES:
            size = _number(data, position + 5, 2), _number(data, position + 3, 2)
        position += _number(data, position, 2)
    return None


def _png_size(data: memoryview) -> tuple[int, int] | None:
    """Walks the chunks (length, name, data, checksum) to the last, which is called IEND."""
    position = len(_PNG_START)
    while position + 12 <= len(data):
        name = data[position + 4 : position + 8]
        position += 12 + _number(data, position, 4)
        if name == b"IEND":
            return _number(data, 16, 4), _number(data, 20, 4)
    return None


def _number(data: memoryview, position: int, length: int) -> int:
    return int.from_bytes(data[position : position + length], "big")
