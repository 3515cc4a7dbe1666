"""Pictures to judge depth by: image, predicted depth, ground truth and error side by side, each with its scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from clip_depth_ros.depth.colour import colourise, depth_range

LARGEST_ERROR = 0.5  # relative error at the end of the error picture's scale
_TILE_WIDTH = 400
_TITLE, _LEGEND, _GAP = 30, 34, 8  # pixels
_BAR_HEIGHT = 10
_BACKGROUND, _INK = (255, 255, 255), (40, 40, 40)
_FONT = cv2.FONT_HERSHEY_DUPLEX
_NO_READING = (225, 225, 225)


def side_by_side(
    rgb: np.ndarray, predicted: np.ndarray, truth: np.ndarray | None = None, subtitle: str = ""
) -> np.ndarray:
    """Returns one picture: image, predicted depth and, where there is ground truth, that and the relative error.

    Predicted depth and ground truth share one colour scale, from the 2nd to the 98th percentile of the truth.

    Args:
        rgb: ``(H, W, 3)`` uint8 RGB.
        predicted: ``(H, W)`` float32 metres, NaN = no reading (grey).
        truth: likewise, or None.
        subtitle: follows the image's title.

    Returns:
        ``(H', W', 3)`` uint8 RGB.
    """
    colours = _DepthColours(predicted if truth is None else truth)
    tiles = [_tile(rgb, f"image {subtitle}".strip()), colours.tile(predicted, "predicted depth")]
    if truth is not None:
        tiles.append(colours.tile(truth, "ground truth"))
        error = np.abs(predicted - truth) / truth
        ramp = error_colours(np.linspace(0, LARGEST_ERROR, _TILE_WIDTH, dtype=np.float32)[None])
        tiles.append(_tile(error_colours(error), "relative error", ramp, ("0", f"{LARGEST_ERROR:.0%} and more")))
    return _row(tiles)


def beside_truth(
    rgb: np.ndarray, truth: np.ndarray, predictions: Mapping[str, np.ndarray], subtitle: str = ""
) -> np.ndarray:
    """Returns one picture: image, ground truth, and several predictions of it, all depth on one colour scale.

    The scale is from the 2nd to the 98th percentile of the truth, or of all predictions where it has no reading.

    Args:
        rgb: ``(H, W, 3)`` uint8 RGB.
        truth: ``(H, W)`` float32 metres, NaN = no reading (grey).
        predictions: likewise, by the title of each.
        subtitle: follows the image's title.

    Returns:
        ``(H', W', 3)`` uint8 RGB.
    """
    colours = _DepthColours(truth if np.isfinite(truth).any() else np.hstack(list(predictions.values())))
    tiles = [_tile(rgb, f"image {subtitle}".strip()), colours.tile(truth, "ground truth")]
    return _row([*tiles, *(colours.tile(depth, title) for title, depth in predictions.items())])


class _DepthColours:
    """One colour scale for several depth maps, from the 2nd to the 98th percentile of ``depth`` ``(H, W)``."""

    def __init__(self, depth: np.ndarray) -> None:
        self._nearest, self._farthest = depth_range(depth)
        ramp = np.linspace(max(self._nearest, 1e-3), self._farthest, _TILE_WIDTH, dtype=np.float32)
        self._bar = self._colourise(ramp[None])

    def tile(self, depth: np.ndarray, title: str) -> np.ndarray:
        ends = (f"{self._nearest:.1f} m", f"{self._farthest:.1f} m")
        return _tile(_on_grey(depth, self._colourise(depth)), title, self._bar, ends)

    def _colourise(self, depth: np.ndarray) -> np.ndarray:
        return colourise(depth, self._nearest, self._farthest)


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Returns pictures of one width ``(H_i, W, 3)`` below each other."""
    return np.vstack(list(pictures))


def error_colours(error: np.ndarray) -> np.ndarray:
    """Returns ``(H, W, 3)`` uint8 RGB of ``(H, W)`` relative errors: dark is right, bright is wrong, grey unknown."""
    with np.errstate(invalid="ignore"):
        levels = np.nan_to_num(np.clip(error / LARGEST_ERROR, 0.0, 1.0) * 255.0).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return _on_grey(error, colours)


def _row(tiles: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((tiles[0].shape[0], _GAP, 3), _BACKGROUND, np.uint8)
    return _framed(np.hstack([part for tile in tiles for part in (tile, gap)][:-1]))


def _on_grey(values: np.ndarray, colours: np.ndarray) -> np.ndarray:
    colours = colours.copy()
    colours[~np.isfinite(values)] = _NO_READING
    return colours


def _tile(
    picture: np.ndarray, title: str, bar: np.ndarray | None = None, ends: tuple[str, str] = ("", "")
) -> np.ndarray:
    height = round(_TILE_WIDTH * picture.shape[0] / picture.shape[1])
    if bar is not None:
        how = cv2.INTER_NEAREST  # a mixture of two colours of the scale would be a third depth
    else:
        how = cv2.INTER_AREA if picture.shape[1] > _TILE_WIDTH else cv2.INTER_CUBIC
    resized = cv2.resize(picture, (_TILE_WIDTH, height), interpolation=how)
    tile = np.full((_TITLE + height + _LEGEND, _TILE_WIDTH, 3), _BACKGROUND, np.uint8)
    tile[_TITLE : _TITLE + height] = resized
    _write(tile, title, (0, _TITLE - 10))
    if bar is not None:
        top = _TITLE + height + 4
        tile[top : top + _BAR_HEIGHT] = bar
        _write(tile, ends[0], (0, top + _BAR_HEIGHT + 15), 0.42)
        (width, _), _ = cv2.getTextSize(ends[1], _FONT, 0.42, 1)
        _write(tile, ends[1], (_TILE_WIDTH - width, top + _BAR_HEIGHT + 15), 0.42)
    return tile


def _write(picture: np.ndarray, text: str, at: tuple[int, int], size: float = 0.5) -> None:
    cv2.putText(picture, text, at, _FONT, size, _INK, 1, cv2.LINE_AA)


def _framed(picture: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(picture, _GAP, _GAP, _GAP, _GAP, cv2.BORDER_CONSTANT, value=_BACKGROUND)
