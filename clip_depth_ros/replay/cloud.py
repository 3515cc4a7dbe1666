"""Clouds as arrays, from rosbags' objects and ROS messages alike, read by field name."""

from __future__ import annotations

from typing import Any

import numpy as np

from clip_depth_ros.errors import BadInput

_KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}  # sensor_msgs/PointField


def cloud_arrays(message: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the finite points of a ``sensor_msgs/PointCloud2``.

    Returns:
        Points ``(N, 3)`` float32 in metres, and their colours ``(N, 3)`` uint8 RGB, grey where the cloud has none.

    Raises:
        BadInput: it has no x, y, z, or less data than its header says.
    """
    order = ">" if message.is_bigendian else "<"
    fields = {field.name: (order + _KINDS[field.datatype], field.offset) for field in message.fields}
    if not {"x", "y", "z"} <= fields.keys():
        raise BadInput(f"A cloud has the fields {', '.join(fields)}: it needs x, y and z.")
    names = list(fields)
    layout = np.dtype(
        {
            "names": names,
            "formats": [fields[name][0] for name in names],
            "offsets": [fields[name][1] for name in names],
            "itemsize": message.point_step,
        }
    )
    count = message.width * message.height
    data = np.frombuffer(message.data, np.uint8)
    if data.size < count * message.point_step:
        raise BadInput(f"A cloud of {count} points has {data.size} bytes, not {count * message.point_step}.")
    table = data[: count * message.point_step].view(layout)
    points = np.stack([table[name].astype(np.float32) for name in "xyz"], axis=1)
    finite = np.isfinite(points).all(axis=1)
    return points[finite], _colours(table, fields)[finite]


def _colours(table: np.ndarray, fields: dict[str, tuple[str, int]]) -> np.ndarray:
    if "rgb" not in fields:
        return np.full((len(table), 3), 128, np.uint8)
    # PCL's habit: the bits of a float are 0x00RRGGBB.
    packed = np.ascontiguousarray(table["rgb"]).view(fields["rgb"][0][0] + "u4").astype(np.uint32)
    return np.stack([(packed >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)], axis=1)
