"""Clouds as arrays, from rosbags' objects and ROS messages alike, read by field name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from clip_depth_ros.errors import BadInput

_FLOATS = {7: "f4", 8: "f8"}  # sensor_msgs/PointField
_COLOURS = (5, 6, 7)  # int32, uint32, and PCL's habit: the bits of a float32
_GREY = 128


def cloud_arrays(message: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the finite points of a ``sensor_msgs/PointCloud2``.

    Colours are those of the field ``rgb``, or else ``rgba``: 0xAARRGGBB as uint32, int32 or the bits of a float32. Of
    other fields neither type nor count matters.

    Returns:
        Points ``(N, 3)`` float32 in metres, and their colours ``(N, 3)`` uint8 RGB, grey where the cloud has none.

    Raises:
        BadInput: it has no x, y, z as single floats, a colour of another type, or less data than its header says.
    """
    points = cloud_points(message).astype(np.float32)
    finite = np.isfinite(points).all(axis=1)
    return points[finite], _colours(message, len(points))[finite]


def cloud_points(message: Any) -> np.ndarray:
    """Returns every point of a ``sensor_msgs/PointCloud2``, finite or not, row by row.

    Returns:
        ``(height * width, 3)`` float64 in metres.

    Raises:
        BadInput: it has no x, y, z as single floats, or less data than its header says.
    """
    offsets = {}
    fields = {field.name: field for field in message.fields}
    for name in "xyz":
        kind = _FLOATS.get(fields[name].datatype) if name in fields else None
        if kind is None or not _fits(fields[name], int(kind[1]), message):
            raise BadInput(
                f"A cloud with points of {message.point_step} bytes has the fields {_listing(message.fields)}: it "
                "needs x, y and z as float32 or float64."
            )
        offsets[name] = kind, fields[name].offset
    return np.stack([_column(message, *offsets[name]).astype(np.float64) for name in "xyz"], axis=1)


def _colours(message: Any, count: int) -> np.ndarray:
    """Returns ``(count, 3)`` uint8 RGB."""
    fields = {field.name: field for field in message.fields}
    field = fields.get("rgb") or fields.get("rgba")
    if field is None:
        return np.full((count, 3), _GREY, np.uint8)
    if field.datatype not in _COLOURS or not _fits(field, 4, message):
        raise BadInput(
            f"A cloud with points of {message.point_step} bytes has the fields {_listing(message.fields)}: its colour "
            f"{field.name} must be one uint32 or float32."
        )
    packed = _column(message, "u4", field.offset).astype(np.uint32)
    return np.stack([(packed >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)], axis=1)


def _fits(field: Any, size: int, message: Any) -> bool:
    """True for a single value of ``size`` bytes inside a point; some drivers leave the count 0."""
    return bool(field.count <= 1 and field.offset + size <= message.point_step)


def _column(message: Any, kind: str, offset: int) -> np.ndarray:
    """Returns one field of every point, ``(height * width,)``, in the message's byte order."""
    height, width, step = message.height, message.width, message.point_step
    if not height * width:
        return np.zeros(0, kind)
    row = width * step
    row_step = message.row_step if height > 1 and message.row_step >= row else row  # some drivers leave it 0
    data = np.frombuffer(message.data, np.uint8)
    needed = row_step * (height - 1) + row
    if data.size < needed:
        raise BadInput(
            f"A cloud of {width}x{height} points of {step} bytes in rows of {row_step} has {data.size} bytes only, not "
            f"{needed}: record it again."
        )
    order = ">" if message.is_bigendian else "<"
    return np.ndarray((height, width), order + kind, data, offset, (row_step, step)).reshape(-1)


def _listing(fields: Iterable[Any]) -> str:
    return ", ".join(f"{field.name} (type {field.datatype} x {field.count})" for field in fields) or "(none)"
