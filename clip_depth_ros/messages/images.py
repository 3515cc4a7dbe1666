"""``sensor_msgs`` images as numpy, without cv_bridge and without ROS: rosbags' objects and ROS messages alike.

Everything that does not fit together is refused before a byte is allocated for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.compressed import picture_size
from clip_depth_ros.messages.encodings import FORMATS, PixelFormat, convert, is_without_colour, pixel_format

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image

MAXIMUM_PIXELS = 1 << 27
"""Largest image taken, in pixels (134 million; 16384 x 8192). A header that claims more is damaged or hostile."""


def decode_image(message: Image, encoding_override: str = "", target: str = "rgb8") -> np.ndarray:
    """Reads a raw image as RGB: every encoding of ``ENCODINGS``, rows with padding, either byte order.

    Args:
        message: the image.
        encoding_override: encoding to read it with instead of the one it names (drivers name wrong ones).
        target: ``"rgb8"``, or ``"mono8"`` for grey.

    Returns:
        uint8 ``(H, W, 3)`` RGB, or ``(H, W)`` for ``"mono8"``, C-contiguous. An image that is in the target encoding
        already, without padding, is a view of the message's data: it lives and changes with the message.

    Raises:
        BadInput: unknown encoding, no pixels, absurd size, ``step`` shorter than a row, data of another length than
            the header says, or a size that the encoding's chroma does not allow.
    """
    pixel = pixel_format(encoding_override or message.encoding)
    pixels = _pixels(message, encoding_override or message.encoding, pixel)
    return np.ascontiguousarray(convert(pixels, pixel, target))


def decode_compressed(message: CompressedImage) -> np.ndarray:
    """Reads a JPEG or PNG image as RGB: grey or colour, 8 or 16 bits, with alpha (dropped) or a Bayer mosaic.

    What the file says of itself counts. Of ``message.format`` (``"jpeg"``, ``"bgr8; jpeg compressed bgr8"``), only
    the name of a Bayer pattern is used, as ``compressed_image_transport`` sends mosaics as grey pictures. An EXIF
    orientation is not applied: pixels stay where the camera's calibration has them.

    Returns:
        uint8 ``(H, W, 3)`` RGB, C-contiguous.

    Raises:
        BadInput: empty, neither JPEG nor PNG, truncated, damaged, of absurd size, or no picture but 16-bit depth.
    """
    data = memoryview(message.data)
    width, height = picture_size(data)
    _check_size(width, height)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise BadInput(
            f"The compressed image of {width}x{height} pixels in {len(data)} bytes is damaged and cannot be "
            f"decoded: look at the driver or the link that sends it."
        )
    return convert(pixels, pixel_format(_picture_encoding(pixels, message.format)))


def _pixels(message: Image, encoding: str, pixel: PixelFormat) -> np.ndarray:
    """Returns the message's pixels ``(rows, W)`` or ``(rows, W, channels)``, a view where it can be used in place."""
    _check_layout(message, encoding, pixel)
    shape = (pixel.rows(message.height), message.width, pixel.channels)
    strides = (message.step, pixel.row_bytes_per_pixel, pixel.dtype.itemsize)
    stored = pixel.dtype.newbyteorder(">" if message.is_bigendian else "<")
    pixels = np.ndarray(shape, stored, message.data, 0, strides).astype(pixel.dtype, copy=False)
    # OpenCV refuses rows that do not start at a whole value (16 bits, odd step): numpy calls them not aligned.
    pixels = np.require(pixels, requirements="A")
    return pixels[..., 0] if pixel.channels == 1 else pixels


def _check_layout(message: Image, encoding: str, pixel: PixelFormat) -> None:
    """Raises BadInput where width, height, step and the length of the data do not fit together."""
    width, height, step = message.width, message.height, message.step
    _check_size(width, height)
    if width % pixel.chroma_columns or height % pixel.chroma_rows:
        raise BadInput(
            f"The {encoding} image is {width}x{height} pixels: its chroma needs a width that is a multiple of "
            f"{pixel.chroma_columns} and a height that is a multiple of {pixel.chroma_rows}."
        )
    needed = width * pixel.row_bytes_per_pixel
    if step < needed:
        raise BadInput(
            f"The {encoding} image has step {step}, but a row of {width} pixels takes {needed} bytes: mend the "
            f"driver, or name the right encoding in encoding_override."
        )
    rows = pixel.rows(height)
    if len(message.data) != step * rows:
        raise BadInput(
            f"The {encoding} image of {width}x{height} pixels with step {step} holds {len(message.data)} bytes "
            f"instead of {step} x {rows} = {step * rows}: mend the driver, or name the right encoding in "
            f"encoding_override."
        )


def _check_size(width: int, height: int) -> None:
    if not width or not height:
        raise BadInput(f"The image is {width}x{height} pixels, so it has none: look at the driver that sends it.")
    if width * height > MAXIMUM_PIXELS:
        raise BadInput(
            f"The image says it is {width}x{height} pixels, more than the {MAXIMUM_PIXELS} that are taken: look "
            f"at the driver that sends it."
        )


def _picture_encoding(pixels: np.ndarray, label: str) -> str:
    """Returns the encoding of a decoded picture, ``(H, W)`` or in OpenCV's order ``(H, W, 3 or 4)``."""
    bits = 8 * pixels.dtype.itemsize
    if pixels.ndim == 3:
        return f"{'bgra' if pixels.shape[2] == 4 else 'bgr'}{bits}"
    source = label.partition(";")[0].strip()
    if bits == 16 and is_without_colour(source):
        return source
    if source.startswith("bayer_") and source in FORMATS and FORMATS[source].dtype == pixels.dtype:
        return source
    return f"mono{bits}"
