"""Messages of a recording as arrays: pictures, depth raw or compressed, and the points of a LiDAR."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.compressed import picture_size
from clip_depth_ros.messages.images import MAXIMUM_PIXELS, decode_compressed, decode_image
from clip_depth_ros.replay.cloud import cloud_points
from clip_depth_ros.replay.depth_image import depth_metres
from clip_depth_ros.replay.messages import COMPRESSED_IMAGE

_PNG_START = b"\x89PNG"
_DEPTH_HEADER = struct.Struct("<iff")  # compressed_depth_image_transport: format, then A and B of the quantisation


def read_picture(message: Any, encoding: str = "") -> np.ndarray:
    """Returns an ``Image`` or ``CompressedImage`` as ``(H, W, 3)`` uint8 RGB.

    Args:
        message: the decoded message.
        encoding: what a raw image holds, where it says something wrong; empty believes it.

    Raises:
        BadInput: unknown encoding, or damaged.
    """
    if message.__msgtype__ == COMPRESSED_IMAGE:
        return decode_compressed(message)
    return decode_image(message, encoding)


def read_depth(message: Any) -> np.ndarray:
    """Returns an ``Image`` or ``CompressedImage`` of depth (REP 118) as ``(H, W)`` float32 metres, 0 = no reading.

    Compressed depth is a 16-bit PNG: millimetres, or (``32FC1; compressedDepth``) inverse depth in steps, as
    compressed_depth_image_transport writes them; its RVL is not read.

    Raises:
        BadInput: another encoding, or damaged.
    """
    if message.__msgtype__ == COMPRESSED_IMAGE:
        return _compressed_depth(message)
    return np.nan_to_num(depth_metres(message), nan=0.0)


def _compressed_depth(message: Any) -> np.ndarray:
    data = bytes(message.data)
    start = data.find(_PNG_START, 0, 64)
    if start < 0:
        raise BadInput(f"A compressed depth image ({message.format!r}) holds no PNG: record it raw, or as PNG.")
    width, height = picture_size(memoryview(data)[start:])
    if not 0 < width * height <= MAXIMUM_PIXELS:
        raise BadInput(f"A compressed depth image says it is {width}x{height} pixels: look at its driver.")
    raw = cv2.imdecode(np.frombuffer(data, np.uint8, offset=start), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype != np.uint16 or raw.ndim != 2:
        raise BadInput(f"A compressed depth image ({message.format!r}) is damaged, or not 16-bit.")
    if not message.format.startswith("32FC1"):
        return raw.astype(np.float32) / np.float32(1000.0)
    if start < _DEPTH_HEADER.size:
        raise BadInput("A compressed 32FC1 depth image lacks the header that says how it was quantised.")
    _, scale, shift = _DEPTH_HEADER.unpack_from(data)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.float32(scale) / (raw.astype(np.float32) - np.float32(shift))
    return np.where((raw > 0) & np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def read_points(message: Any) -> np.ndarray:
    """Returns the points of a ``PointCloud2`` as ``(N, 3)`` float64 metres.

    Points that are not finite, or at the origin exactly (how drivers say "no return"), are left out.

    Raises:
        BadInput: x, y and z are not float32 or float64, or the data are shorter than the header says.
    """
    points = cloud_points(message)
    return points[np.isfinite(points).all(axis=1) & points.any(axis=1)]
