"""A picture of a data set to look at: samples above their depth, with the scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from clip_depth_ros.depth.colour import colourise
from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_training.data_sets.base import Sample

_CELL_WIDTH = 240  # pixels
_GAP = 6
_LINE = 16  # height of a line of text
_BAR, _TICK_SPACING = 14, 80
_BACKGROUND = 255
_PERCENTILES = (1.0, 99.0)
_NOTHING = np.float32(1e9)  # metres, farther than any reading
_READINGS = 20_000  # of a sample that the range is taken from


def contact_sheet(samples: Sequence[Sample], path: Path, columns: int = 6) -> None:
    """Writes ``samples`` as a PNG: each picture above its depth, coloured as the node colours it, and the colours'
    scale in metres at the bottom. All share one scale, so that a wrong depth unit stands out.

    Args:
        samples: what to show; sizes may differ.
        path: the PNG.
        columns: pictures in a row.

    Raises:
        BadInput: there is nothing to show, or the file cannot be written.
    """
    if not samples:
        raise BadInput(f"{path} would show nothing: there is no sample.")
    columns = min(columns, len(samples))
    near, far = _common_range(samples)
    cells = [_cell(sample, near, far) for sample in samples]
    height = max(cell.shape[0] for cell in cells)
    cells = [_padded(cell, height, _CELL_WIDTH) for cell in cells]
    blank = np.full((height, _CELL_WIDTH, 3), _BACKGROUND, np.uint8)
    rows = [
        _beside([*cells[start : start + columns], *[blank] * (start + columns - len(cells))])
        for start in range(0, len(cells), columns)
    ]
    sheet = np.concatenate([*rows, _scale(rows[0].shape[1], near, far)])
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes())


def _common_range(samples: Sequence[Sample]) -> tuple[float, float]:
    """Returns the 1st and 99th percentile, metres, of all readings; each sample counts the same."""
    readings = []
    for sample in samples:
        valid = sample.depth[sample.depth > 0]
        readings.append(valid[:: max(1, valid.size // _READINGS)])
    together = np.concatenate(readings)
    if not together.size:
        return 0.0, 1.0
    near, far = np.percentile(together, _PERCENTILES)
    return float(near), float(far)


def _cell(sample: Sample, near: float, far: float) -> np.ndarray:
    """Returns a sample (H, _CELL_WIDTH, 3): picture, depth, and a line of text."""
    height = max(1, round(sample.depth.shape[0] * _CELL_WIDTH / sample.depth.shape[1]))
    size = (_CELL_WIDTH, height)
    image = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA)
    depth = cv2.resize(_thickened(sample.depth), size, interpolation=cv2.INTER_NEAREST)
    readings = sample.depth[sample.depth > 0]
    text = f"{readings.min():.2f} to {readings.max():.2f} m" if readings.size else "no depth"
    caption = np.full((2 * _LINE, _CELL_WIDTH, 3), _BACKGROUND, np.uint8)
    _write(caption, "/".join(Path(sample.name).parts[-2:])[-36:], (2, _LINE - 4))
    _write(caption, text, (2, 2 * _LINE - 4))
    return np.concatenate([image, colourise(depth, near, far), caption])


def _thickened(depth: np.ndarray) -> np.ndarray:
    """Returns depth whose readings are spread over the pixels that shrinking would leave out: laser points are sparse
    and would vanish. The nearest of neighbours stays."""
    factor = depth.shape[1] // _CELL_WIDTH
    if factor < 2:
        return depth
    filled = np.where(depth > 0, depth, _NOTHING)
    nearest = cv2.erode(filled, np.ones((factor, factor), np.uint8))
    return np.where(nearest < _NOTHING, nearest, np.float32(0))


def _scale(width: int, near: float, far: float) -> np.ndarray:
    """Returns the colours from ``near`` to ``far`` with their metres below."""
    strip = np.full((2 * _GAP + _BAR + _LINE, width, 3), _BACKGROUND, np.uint8)
    left, right = 4 * _GAP, width - 8 * _GAP
    # Strictly above 0, which is the colour of no reading.
    metres = np.maximum(np.linspace(near, far, right - left, dtype=np.float32), np.float32(1e-6))
    strip[_GAP : _GAP + _BAR, left:right] = colourise(np.tile(metres, (_BAR, 1)), near, far)
    ticks = min(9, max(2, (right - left) // _TICK_SPACING + 1))
    for number in range(ticks):
        share = number / (ticks - 1)
        position = left + round(share * (right - left - 1))
        strip[_GAP + _BAR : _GAP + _BAR + 3, position] = 0
        _write(strip, f"{near + share * (far - near):.2f} m", (max(0, position - 18), _GAP + _BAR + _LINE))
    return strip


def _beside(cells: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((cells[0].shape[0], _GAP, 3), _BACKGROUND, np.uint8)
    return np.concatenate([part for cell in cells for part in (cell, gap)], axis=1)


def _padded(cell: np.ndarray, height: int, width: int) -> np.ndarray:
    full = np.full((height, width, 3), _BACKGROUND, np.uint8)
    full[: cell.shape[0], : cell.shape[1]] = cell
    return full


def _write(picture: np.ndarray, text: str, position: tuple[int, int]) -> None:
    cv2.putText(picture, text, position, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
