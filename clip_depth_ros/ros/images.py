"""``sensor_msgs`` images to numpy and back, without cv_bridge (whose compiled module breaks where numpy is newer).

Reading is in :mod:`clip_depth_ros.messages.images`, which needs no ROS.
"""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from clip_depth_ros.depth.masking import millimetres
from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.encodings import ENCODINGS
from clip_depth_ros.messages.images import MAXIMUM_PIXELS, decode_compressed, decode_image

__all__ = [
    "DEPTH_ENCODINGS",
    "ENCODINGS",
    "MAXIMUM_PIXELS",
    "colour_message",
    "decode_compressed",
    "decode_image",
    "depth_message",
    "matrix_message",
]

DEPTH_ENCODINGS = ("32FC1", "16UC1")
"""Encodings of published depth (REP 118)."""


def depth_message(header: Header, depth: np.ndarray, encoding: str = "32FC1") -> Image:
    """Makes a depth image (REP 118).

    Args:
        header: the header of the image the depth belongs to; used as it is, never restamped.
        depth: float32 ``(H, W)``, metres along Z, NaN = no reading.
        encoding: ``"32FC1"`` (metres, written as given) or ``"16UC1"`` (millimetres, rounded; 0 = no reading, or
            beyond 65.535 m).

    Raises:
        BadInput: another encoding.
    """
    if encoding not in DEPTH_ENCODINGS:
        raise BadInput(f"The depth encoding is {encoding!r}: it must be one of {', '.join(DEPTH_ENCODINGS)}.")
    _check_shape("depth", depth, np.float32, ("H", "W"))
    return _image(header, millimetres(depth) if encoding == "16UC1" else depth, encoding)


def colour_message(header: Header, rgb: np.ndarray) -> Image:
    """Makes an rgb8 image from uint8 ``(H, W, 3)`` RGB; ``header`` is used as it is."""
    _check_shape("rgb", rgb, np.uint8, ("H", "W", 3))
    return _image(header, rgb, "rgb8")


def matrix_message(header: Header, matrix: np.ndarray) -> Image:
    """Makes a 32FC1 image from float32 ``(rows, cols)``: CLIP tokens, an embedding, confidence.

    The image's height is ``rows``, its width ``cols``; ``header`` is used as it is.
    """
    _check_shape("matrix", matrix, np.float32, ("rows", "cols"))
    return _image(header, matrix, "32FC1")


def _check_shape(name: str, array: np.ndarray, dtype: type, shape: tuple[str | int, ...]) -> None:
    fits = array.ndim == len(shape) and all(
        isinstance(wanted, str) or wanted == actual for wanted, actual in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        wanted = ", ".join(str(side) for side in shape)
        raise ValueError(f"{name} is {array.dtype} {array.shape} where {np.dtype(dtype)} ({wanted}) is needed")


def _image(header: Header, array: np.ndarray, encoding: str) -> Image:
    """Makes a message of an array ``(H, W)`` or ``(H, W, channels)``, little-endian and without padding."""
    height, width = array.shape[:2]
    rows = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(height, -1).view(np.uint8)
    message = Image(header=header, height=height, width=width, encoding=encoding, is_bigendian=0)
    message.step = rows.shape[1]
    # One copy, whether rclpy checks fields or not: assigning to `data` copies again in one of the two.
    message.data.frombytes(rows)
    return message
