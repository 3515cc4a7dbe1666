"""Depth images as arrays, from rosbags' objects and ROS messages alike (their fields have the same names)."""

from __future__ import annotations

from typing import Any

import numpy as np

from clip_depth_ros.errors import BadInput


def depth_metres(message: Any) -> np.ndarray:
    """Returns a depth image (REP 118) as ``(H, W)`` float32 metres, NaN = no reading.

    Args:
        message: a ``sensor_msgs/Image``: 32FC1 in metres, or 16UC1 (also called mono16) in millimetres with 0 = none.

    Raises:
        BadInput: another encoding, or data of another length than the header says.
    """
    kinds = {"32FC1": "f4", "16UC1": "u2", "mono16": "u2"}
    if message.encoding not in kinds:
        raise BadInput(f"A depth image is encoded as {message.encoding}: it must be 32FC1 (m) or 16UC1 (mm).")
    dtype = np.dtype((">" if message.is_bigendian else "<") + kinds[message.encoding])
    height, width, step = message.height, message.width, message.step
    data = np.frombuffer(message.data, np.uint8)
    if step < width * dtype.itemsize or data.size != height * step or not data.size:
        raise BadInput(f"A {width}x{height} {message.encoding} depth image has {data.size} bytes in rows of {step}.")
    raw = data.reshape(height, step)[:, : width * dtype.itemsize]
    values = np.ascontiguousarray(raw).view(dtype)
    depth = values.astype(np.float32) / np.float32(1000.0) if dtype.kind == "u" else values.astype(np.float32)
    depth[~(depth > 0) | ~np.isfinite(depth)] = np.nan
    return depth
