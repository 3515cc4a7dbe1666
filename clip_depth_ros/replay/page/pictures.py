"""The strip's frames as small pictures in data URIs, all depth on one colour scale."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from clip_depth_ros.depth.colour import colourise, depth_range
from clip_depth_ros.depth.pictures import LARGEST_ERROR, error_colours
from clip_depth_ros.replay.page.strip import StripFrame

_WIDTHS = ((400, 480), (900, 360))  # pictures up to which they are this wide, pixels
_NARROWEST = 240
_SAMPLES = 10_000  # readings of each depth map that the colour scale is taken from
_SMALLEST_SPAN = 0.1  # metres of the colour scale
_SPARSE = 0.2  # part of the pixels with truth up to which it is points, as LiDAR gives, which are drawn thicker
_LEVELS = 255  # colours of depth
_LOSSLESS, _ERROR_QUALITY, _RGB_QUALITY = 101, 85, 82


@dataclass(frozen=True)
class StripPictures:
    """Pictures as data URIs, and what their colours mean.

    Attributes:
        frames: each ``{"t": seconds, "rgb": uri, "truth": uri | None, "depths": {key: {"depth", "error"}}}``.
        keys: heads (and conditions) that any frame has depth of, in order.
        near, far: ends of the depth colours, metres.
        palette: colours of depth as ``rrggbb``, from ``near`` to ``far`` in equal steps.
        sparse: truth and error are drawn thicker than one pixel, because few pixels have truth.
        error_palette: likewise of relative error, from 0 to :data:`LARGEST_ERROR`.
        size: columns and rows of the first picture, pixels.
    """

    frames: list[dict[str, Any]]
    keys: list[str]
    near: float
    far: float
    palette: list[str]
    error_palette: list[str]
    size: tuple[int, int]
    sparse: bool


def strip_pictures(strip: Sequence[StripFrame]) -> StripPictures:
    """Encodes a strip.

    RGB is JPEG. Depth is WebP without loss, so that a colour can be read back as a depth; error is WebP with some loss.
    Pixels without a reading are transparent. Pictures are scaled down to 480 columns, fewer where there are many.
    """
    keys = list(dict.fromkeys(key for frame in strip for key in frame.depths))
    width = _width(len(strip) * (2 + 2 * len(keys)))
    near, far = _limits(strip)
    sparse = _is_sparse(strip)
    frames = [_frame(frame, width, (near, far), sparse) for frame in strip]
    ramp = np.linspace(near, far, _LEVELS, dtype=np.float32)[None]
    error_ramp = np.linspace(0, LARGEST_ERROR, 64, dtype=np.float32)[None]
    size = _smaller(strip[0].rgb, width, cv2.INTER_AREA).shape[1::-1] if strip else (4, 3)
    palettes = (_hexadecimal(colourise(ramp, near, far)), _hexadecimal(error_colours(error_ramp)))
    return StripPictures(frames, keys, near, far, *palettes, (int(size[0]), int(size[1])), sparse)


def _width(pictures: int) -> int:
    return next((width for most, width in _WIDTHS if pictures <= most), _NARROWEST)


def _limits(strip: Sequence[StripFrame]) -> tuple[float, float]:
    """Returns the 2nd and 98th percentile of the truth, or of all predictions where there is none."""
    truths = [_readings(frame.truth) for frame in strip if frame.truth is not None]
    readings = np.concatenate([np.zeros(0, np.float32), *truths])
    if not readings.size:
        depths = [_readings(depth) for frame in strip for depth in frame.depths.values()]
        readings = np.concatenate([readings, *depths])
    if not readings.size:
        return 0.0, 1.0
    near, far = depth_range(readings[None])
    return near, max(far, near + _SMALLEST_SPAN)


def _readings(depth: np.ndarray) -> np.ndarray:
    """Returns some readings of a depth map, spread over it."""
    found = depth[np.isfinite(depth) & (depth > 0)]
    return found[:: max(1, found.size // _SAMPLES)]


def _is_sparse(strip: Sequence[StripFrame]) -> bool:
    shares = [float(np.isfinite(frame.truth).mean()) for frame in strip if frame.truth is not None]
    return bool(shares) and 0 < max(shares) <= _SPARSE


def _frame(frame: StripFrame, width: int, limits: tuple[float, float], sparse: bool) -> dict[str, Any]:
    rgb = _smaller(frame.rgb, width, cv2.INTER_AREA)
    depths = {}
    for key, depth in frame.depths.items():
        error = None
        if frame.truth is not None and frame.truth.shape == depth.shape:
            error = _error_uri(_smaller(depth, width), _smaller(frame.truth, width), sparse)
        depths[key] = {"depth": _depth_uri(_smaller(depth, width), limits), "error": error}
    truth = None if frame.truth is None else _smaller(frame.truth, width)
    return {
        "t": float(frame.t_s),
        "rgb": _uri("jpeg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _RGB_QUALITY]),
        "truth": None if truth is None else _depth_uri(-_thicker(-truth) if sparse else truth, limits),
        "depths": depths,
    }


def _depth_uri(depth: np.ndarray, limits: tuple[float, float]) -> str:
    return _see_through(colourise(depth, *limits), np.isfinite(depth) & (depth > 0), _LOSSLESS)


def _error_uri(depth: np.ndarray, truth: np.ndarray, sparse: bool) -> str:
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(depth - truth) / truth
    error = _thicker(error) if sparse else error
    return _see_through(error_colours(error), np.isfinite(error), _ERROR_QUALITY)


def _thicker(values: np.ndarray) -> np.ndarray:
    """Returns ``(H, W)`` values grown over the 3 by 3 pixels around each, the largest of several; NaN = none."""
    known = np.where(np.isfinite(values), values, -np.inf).astype(np.float32)
    grown = cv2.dilate(known, np.ones((3, 3), np.uint8), borderValue=-np.inf)
    return np.where(np.isfinite(grown), grown, np.nan).astype(np.float32)


def _see_through(rgb: np.ndarray, shown: np.ndarray, quality: int) -> str:
    picture = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)
    picture[~shown] = 0
    return _uri("webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])


def _uri(kind: str, picture: np.ndarray, parameters: list[int]) -> str:
    encoded = cv2.imencode(f".{kind}", picture, parameters)[1]
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"


def _smaller(picture: np.ndarray, width: int, how: int = cv2.INTER_NEAREST) -> np.ndarray:
    """Returns the picture at most ``width`` wide; depth is not mixed, as half way between two is neither."""
    if picture.shape[1] <= width:
        return picture
    height = max(1, round(width * picture.shape[0] / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=how)


def _hexadecimal(row: np.ndarray) -> list[str]:
    return ["".join(f"{int(channel):02x}" for channel in colour) for colour in row[0]]
