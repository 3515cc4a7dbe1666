"""Depth along z (REP 118) to points, and where depth jumps."""

from __future__ import annotations

import cv2
import numpy as np

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.depth.masking import within
from clip_depth_ros.errors import BadInput

__all__ = ["CameraModel", "EdgeFinder", "depth_edges", "points_from_depth", "valid_depth"]

EDGE_REACH = 4
"""Pixels: second differences of inverse depth are taken this far apart to find edges."""
_MARGIN = 2 * EDGE_REACH  # rows: what an edge depends on, the bends within EDGE_REACH and what these are computed from
_PIXELS_AT_ONCE = 307_200  # of a band without its margins: 640x480 is done at once
_FARTHEST = float(np.finfo(np.float32).max)
_SMALLEST = float(np.finfo(np.float32).tiny)


def points_from_depth(depth: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Returns (H, W, 3) float32 points in metres, optical frame: each ray times its depth.

    Args:
        depth: (H, W) float32, metres along z (REP 118), NaN where there is no reading.
        rays: (H, W, 3) float32 with z = 1, ``CameraModel.rays()``; NaN where a pixel has no ray.

    A pixel without depth or without ray gives three NaN.

    Raises:
        BadInput: depth and rays differ in size.
    """
    if depth.shape != rays.shape[:2]:
        raise BadInput(
            f"depth is {_size(depth)} but the camera's rays are {_size(rays)}: use the calibration of this image size"
        )
    return np.multiply(rays, depth[..., None], dtype=np.float32)


def valid_depth(
    depth: np.ndarray, minimum: float = 0.0, maximum: float = np.inf, out: np.ndarray | None = None
) -> np.ndarray:
    """Returns (H, W) bool, True where float32 depth is finite, above 0 and within [minimum, maximum] metres.

    ``out``, (2, H, W) bool, is memory to work in, see :func:`~clip_depth_ros.depth.masking.within`.
    """
    return within(depth, *depth_bounds(minimum, maximum), out)


def depth_bounds(minimum: float, maximum: float) -> tuple[np.float32, np.float32]:
    """Returns the least and the greatest float32 that are valid depth in [minimum, maximum] metres."""
    return np.float32(max(float(minimum), _SMALLEST)), np.float32(min(float(maximum), _FARTHEST))


def depth_edges(depth: np.ndarray, threshold: float) -> np.ndarray:
    """Returns (H, W) bool, True on both sides of a depth jump and on everything in between.

    Networks draw a jump as a ramp of several pixels, whose points would hang in the air between object and wall. A
    pixel is on a jump or ramp when both hold:

    - depth in its 3x3 neighbourhood varies by more than ``threshold`` (0.05 = 5 percent of the nearest);
    - inverse depth bends by more than ``threshold`` of itself near it. Inverse depth of a plane is a linear function
      of the pixel, so that a floor seen at a grazing angle varies a lot and does not bend; a ramp bends at its ends.

    Ramps of up to about 12 pixels are found whole. Next to a pixel without reading, bending is taken for granted.

    Args:
        depth: (H, W) float32, metres along z; NaN, infinite and non-positive pixels are no readings and never edges.
        threshold: relative jump, above 0.
    """
    height, width = depth.shape
    return EdgeFinder(height, width, threshold)(depth)


class EdgeFinder:
    """``depth_edges`` for many images of one size: all that is computed lies in memory that the next image reuses.

    Not for two threads at a time.

    Args:
        height: of the images, pixels.
        width: of the images, pixels.
        threshold: see ``depth_edges``.
    """

    def __init__(self, height: int, width: int, threshold: float) -> None:
        self._threshold = threshold
        # In bands, each with as much around it as its edges depend on: the fewer bytes are worked with at a time, the
        # more of them are still in the processor's cache.
        self._band = max(4 * _MARGIN, _PIXELS_AT_ONCE // width)
        rows = min(height, self._band + 2 * _MARGIN)
        self._inverse, self._farthest, self._first, self._second = np.empty((4, rows, width), np.float32)
        self._steep, self._bent, self._near_bend = np.empty((3, rows, width), bool)
        self._readings = np.empty((2, rows, width), bool)
        self._edges = np.empty((height, width), bool)
        self._across = np.zeros((1, 2 * EDGE_REACH + 1), np.float32)
        self._across[0, [0, EDGE_REACH, -1]] = 1, -2, 1
        self._down = np.ascontiguousarray(self._across.T)

    def __call__(self, depth: np.ndarray) -> np.ndarray:
        """Returns the edges, see ``depth_edges``; the next call writes over them."""
        depth = np.asarray(depth, np.float32)
        height = len(depth)
        for top in range(0, height, self._band):
            bottom = min(height, top + self._band)
            first, last = max(0, top - _MARGIN), min(height, bottom + _MARGIN)
            edges = self._find(depth[first:last], first == 0, last == height)
            self._edges[top:bottom] = edges[top - first : bottom - first]
        return self._edges

    def _find(self, depth: np.ndarray, at_top: bool, at_bottom: bool) -> np.ndarray:
        """Returns the edges of a band, which may be at the top or the bottom of its image."""
        rows = len(depth)
        readings = valid_depth(depth, out=self._readings[:, :rows])
        everywhere = bool(readings.all())
        inverse = self._inverse[:rows]
        with np.errstate(divide="ignore"):
            np.divide(np.float32(1), depth, out=inverse)
        farthest = inverse
        if not everywhere:
            # Pixels without reading must not count as the nearest or the farthest of their neighbourhood.
            farthest = self._farthest[:rows]
            farthest.fill(1e30)
            cv2.copyTo(inverse, readings.view(np.uint8), farthest)
            missing, zero = np.logical_not(readings, out=self._bent[:rows]), self._first[:rows]
            zero.fill(0)
            cv2.copyTo(zero, missing.view(np.uint8), inverse)
        edges = self._find_steep(inverse, farthest)
        np.logical_and(edges, self._find_bends(inverse, at_top, at_bottom), out=edges)
        return edges if everywhere else np.logical_and(edges, readings, out=edges)

    def _find_steep(self, nearest: np.ndarray, farthest: np.ndarray) -> np.ndarray:
        """Returns where the greatest inverse depth of 3x3 pixels is far above the smallest."""
        rows = len(nearest)
        greatest, smallest = self._first[:rows], self._second[:rows]
        neighbours = np.ones((3, 3), np.uint8)
        cv2.dilate(nearest, neighbours, dst=greatest)
        cv2.erode(farthest, neighbours, dst=smallest)
        np.multiply(smallest, np.float32(1 + self._threshold), out=smallest)
        return np.greater(greatest, smallest, out=self._steep[:rows])

    def _find_bends(self, inverse: np.ndarray, at_top: bool, at_bottom: bool) -> np.ndarray:
        """Returns where inverse depth bends within ``EDGE_REACH`` pixels."""
        rows = len(inverse)
        across, down = self._first[:rows], self._second[:rows]
        cv2.filter2D(inverse, -1, self._across, dst=across, borderType=cv2.BORDER_REPLICATE)
        cv2.filter2D(inverse, -1, self._down, dst=down, borderType=cv2.BORDER_REPLICATE)
        if min(inverse.shape) > 2 * EDGE_REACH:  # the image's border is no bend; one beside it is found from inside
            across[:, :EDGE_REACH] = across[:, -EDGE_REACH:] = 0
            if at_top:
                down[:EDGE_REACH] = 0
            if at_bottom:
                down[-EDGE_REACH:] = 0
        np.abs(across, out=across)
        np.abs(down, out=down)
        bend = np.maximum(across, down, out=across)
        bent = np.greater(bend, np.multiply(inverse, np.float32(self._threshold), out=down), out=self._bent[:rows])
        near_bend = self._near_bend[:rows]
        window = np.ones((2 * EDGE_REACH + 1, 2 * EDGE_REACH + 1), np.uint8)
        cv2.dilate(bent.view(np.uint8), window, dst=near_bend.view(np.uint8))
        return near_bend


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
