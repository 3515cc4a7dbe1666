"""Makes the image messages that the tests read."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image

from clip_depth_ros.messages.encodings import FORMATS


def make_image(encoding: str, pixels: np.ndarray, padding: int = 0, big_endian: bool = False) -> Image:
    """Returns a message of ``pixels`` ``(rows, W[, C])``; each row ends in ``padding`` bytes of 0xA5."""
    rows = pixels.astype(pixels.dtype.newbyteorder(">" if big_endian else "<")).reshape(len(pixels), -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xA5)
    message = Image(encoding=encoding, width=pixels.shape[1], height=len(pixels), is_bigendian=int(big_endian))
    if encoding in ("nv12", "nv21"):
        message.height = len(pixels) * 2 // 3
    message.step = padded.shape[1]
    message.data.frombytes(np.ascontiguousarray(padded))
    return message


def some_pixels(encoding: str, height: int = 16, width: int = 24) -> np.ndarray:
    """Returns random pixels in the shape a message of ``encoding`` stores them in."""
    pixel = FORMATS[encoding]
    shape = (pixel.rows(height), width, pixel.channels) if pixel.channels > 1 else (pixel.rows(height), width)
    return np.random.default_rng(3).integers(0, np.iinfo(pixel.dtype).max + 1, shape).astype(pixel.dtype)
