"""``sensor_msgs`` images to numpy and back, without cv_bridge (whose compiled module breaks where numpy is newer).

Reading is in :mod:`clip_depth_ros.messages.images`, which needs no ROS.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from clip_depth_ros.depth.masking import millimetres
from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.encodings import ENCODINGS
from clip_depth_ros.messages.images import MAXIMUM_PIXELS, decode_compressed, decode_image
from clip_depth_ros.ros.message_data import data_array

__all__ = [
    "DEPTH_ENCODINGS",
    "ENCODINGS",
    "MAXIMUM_PIXELS",
    "colour_message",
    "decode_compressed",
    "decode_image",
    "depth_message",
    "image_pixels",
    "matrix_message",
]

DEPTH_ENCODINGS = ("32FC1", "16UC1")
"""Encodings of published depth (REP 118)."""

# What is written: little-endian, as all of ROS 2's platforms are, and its channels.
_WRITTEN: dict[str, tuple[np.dtype[Any], int]] = {
    "32FC1": (np.dtype("<f4"), 1),
    "16UC1": (np.dtype("<u2"), 1),
    "rgb8": (np.dtype(np.uint8), 3),
}


def image_pixels(message: Image, header: Header, size: tuple[int, ...], encoding: str) -> np.ndarray:
    """Makes ``message`` an image of this header, size and encoding, and returns its pixels to be written in place.

    The memory of a message that was published before is used again, so that a stream of images allocates nothing:
    rclpy has handed a copy to the middleware when ``publish`` returns. Whoever else holds the message or its pixels
    sees them change: publish it and nothing else.

    Args:
        message: a new message, or one that was published.
        header: used as it is.
        size: height and width, pixels.
        encoding: ``"32FC1"``, ``"16UC1"`` or ``"rgb8"``.

    Returns:
        float32 or uint16 ``(H, W)``, or uint8 ``(H, W, 3)``: a view of ``message.data``.
    """
    dtype, channels = _WRITTEN[encoding]
    height, width = size
    message.header = header
    message.height, message.width, message.encoding, message.is_bigendian = height, width, encoding, 0
    message.step = width * channels * dtype.itemsize
    pixels: np.ndarray = data_array(message, height * message.step).view(dtype)
    return pixels.reshape((height, width) if channels == 1 else (height, width, channels))


def depth_message(header: Header, depth: np.ndarray, encoding: str = "32FC1", message: Image | None = None) -> Image:
    """Makes a depth image (REP 118).

    Args:
        header: the header of the image the depth belongs to; used as it is, never restamped.
        depth: float32 ``(H, W)``, metres along Z, NaN = no reading.
        encoding: ``"32FC1"`` (metres, written as given) or ``"16UC1"`` (millimetres, rounded; 0 = no reading, or
            beyond 65.535 m).
        message: a message to write over and return (see :func:`image_pixels`); by default a new one.

    Raises:
        BadInput: another encoding.
    """
    if encoding not in DEPTH_ENCODINGS:
        raise BadInput(f"The depth encoding is {encoding!r}: it must be one of {', '.join(DEPTH_ENCODINGS)}.")
    _check_shape("depth", depth, np.float32, ("H", "W"))
    if encoding == "32FC1":
        return _image(header, depth, encoding, message)
    message = Image() if message is None else message
    millimetres(depth, out=image_pixels(message, header, depth.shape, encoding))
    return message


def colour_message(header: Header, rgb: np.ndarray, message: Image | None = None) -> Image:
    """Makes an rgb8 image from uint8 ``(H, W, 3)`` RGB.

    ``header`` is used as it is; ``message`` as in :func:`depth_message`.
    """
    _check_shape("rgb", rgb, np.uint8, ("H", "W", 3))
    return _image(header, rgb, "rgb8", message)


def matrix_message(header: Header, matrix: np.ndarray, message: Image | None = None) -> Image:
    """Makes a 32FC1 image from float32 ``(rows, cols)``: CLIP tokens, an embedding, confidence.

    The image's height is ``rows``, its width ``cols``; ``header`` is used as it is; ``message`` as in
    :func:`depth_message`.
    """
    _check_shape("matrix", matrix, np.float32, ("rows", "cols"))
    return _image(header, matrix, "32FC1", message)


def _check_shape(name: str, array: np.ndarray, dtype: type, shape: tuple[str | int, ...]) -> None:
    fits = array.ndim == len(shape) and all(
        isinstance(wanted, str) or wanted == actual for wanted, actual in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        wanted = ", ".join(str(side) for side in shape)
        raise ValueError(f"{name} is {array.dtype} {array.shape} where {np.dtype(dtype)} ({wanted}) is needed")


def _image(header: Header, array: np.ndarray, encoding: str, message: Image | None) -> Image:
    message = Image() if message is None else message
    np.copyto(image_pixels(message, header, array.shape[:2], encoding), array)
    return message
