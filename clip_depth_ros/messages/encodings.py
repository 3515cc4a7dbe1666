"""The pixel formats cameras send and how each becomes RGB or grey: bit for bit what cv_bridge makes of it.

No ROS is needed here: pixels are numpy arrays, encodings are the names of ``sensor_msgs/image_encodings``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput

TARGETS = ("rgb8", "mono8")

# ROS names a Bayer pattern by its first two rows from the corner, OpenCV by the 2x2 block one pixel further in.
_OPENCV_BAYER = {"rggb": "BG", "bggr": "RG", "gbrg": "GR", "grbg": "GB"}
_OPENCV_YUV = {
    "yuv422": "UYVY",
    "uyvy": "UYVY",
    "yuv422_yuy2": "YUYV",
    "yuyv": "YUYV",
    "nv12": "NV12",
    "nv21": "NV21",
}
_WITHOUT_COLOUR = re.compile(r"(8|16|32|64)[USF]C\d*")


@dataclass(frozen=True)
class PixelFormat:
    """One pixel format.

    Attributes:
        dtype: ``uint8`` or ``uint16`` (``float32`` for depth), in the machine's byte order.
        channels: values a pixel (the luma alone for nv12 and nv21, whose chroma rows follow those of the luma).
        to_rgb: OpenCV's conversion to RGB; None where the pixels are RGB.
        to_grey: OpenCV's conversion to grey; None where the pixels are grey.
        chroma_columns: pixels that share one chroma sample along a row; the width is a multiple of it.
        chroma_rows: the same along a column; the height is a multiple of it.
    """

    dtype: np.dtype
    channels: int
    to_rgb: int | None
    to_grey: int | None
    chroma_columns: int = 1
    chroma_rows: int = 1

    @property
    def row_bytes_per_pixel(self) -> int:
        """Bytes a pixel takes in its row."""
        return self.channels * self.dtype.itemsize

    def rows(self, height: int) -> int:
        """Returns how many rows of data an image of ``height`` pixels has: half as many again with chroma below."""
        return height * 3 // 2 if self.chroma_rows == 2 else height


def _formats() -> dict[str, PixelFormat]:
    formats: dict[str, PixelFormat] = {}

    def code(name: str) -> int:
        return int(getattr(cv2, f"COLOR_{name}"))

    for bits, dtype in (("8", np.dtype(np.uint8)), ("16", np.dtype(np.uint16))):
        for order in ("rgb", "bgr", "rgba", "bgra"):
            to_rgb = None if order == "rgb" else code(f"{order.upper()}2RGB")
            formats[order + bits] = PixelFormat(dtype, len(order), to_rgb, code(f"{order.upper()}2GRAY"))
        formats["mono" + bits] = PixelFormat(dtype, 1, code("GRAY2RGB"), None)
        for order, name in _OPENCV_BAYER.items():
            codes = code(f"Bayer{name}2RGB"), code(f"Bayer{name}2GRAY")
            formats[f"bayer_{order}{bits}"] = PixelFormat(dtype, 1, *codes)
    for encoding, name in _OPENCV_YUV.items():
        planar = name.startswith("NV")
        codes = code(f"YUV2RGB_{name}"), code(f"YUV2GRAY_{name}")
        formats[encoding] = PixelFormat(np.dtype(np.uint8), 1 if planar else 2, *codes, 2, 2 if planar else 1)
    return formats


FORMATS = _formats()
ENCODINGS = tuple(FORMATS)
"""Every encoding a raw image may have, and the parameter ``encoding_override`` may name."""


def pixel_format(encoding: str) -> PixelFormat:
    """Returns the pixel format of ``encoding``.

    Raises:
        BadInput: the encoding is unknown, or says how numbers are stored but not what they mean (``8UC3``).
    """
    known = FORMATS.get(encoding)
    if known is not None:
        return known
    if is_without_colour(encoding):
        raise BadInput(
            f"The image's encoding {encoding} names no colours: say what it holds with the parameter "
            f"encoding_override, such as bgr8 for 8UC3 or mono16 for 16UC1."
        )
    raise BadInput(
        f"The image's encoding {encoding!r} is unknown: set the parameter encoding_override to what it "
        f"holds, one of {', '.join(ENCODINGS)}."
    )


def is_without_colour(encoding: str) -> bool:
    """Returns whether ``encoding`` is OpenCV's name of a number type (``8UC3``, ``16UC1``, ``32FC1``)."""
    return _WITHOUT_COLOUR.fullmatch(encoding) is not None


def convert(pixels: np.ndarray, pixel: PixelFormat, target: str = "rgb8") -> np.ndarray:
    """Converts pixels to RGB or grey as cv_bridge does: colours first, at the input's depth, then to 8 bits.

    Sixteen bits become eight by ``value * 255 / 65535``, rounded. One result hangs on the processor: grey from an
    8-bit Bayer mosaic, where OpenCV's vector code for x86 rounds down and its other code rounds to nearest.

    Args:
        pixels: ``(rows, W)`` or ``(rows, W, channels)`` of ``pixel.dtype``; ``rows = pixel.rows(H)``.
        pixel: their format.
        target: ``"rgb8"`` or ``"mono8"``.

    Returns:
        uint8 ``(H, W, 3)``, or ``(H, W)`` for ``"mono8"``; ``pixels`` itself where there is nothing to convert.
    """
    if target not in TARGETS:
        raise ValueError(f"target is {target!r}: it must be one of {', '.join(TARGETS)}")
    code = pixel.to_rgb if target == "rgb8" else pixel.to_grey
    converted = pixels if code is None else cv2.cvtColor(pixels, code)
    return cv2.convertScaleAbs(converted, alpha=255 / 65535) if pixel.dtype.itemsize == 2 else converted
