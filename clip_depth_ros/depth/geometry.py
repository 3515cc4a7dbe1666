"""Depth along z (REP 118) to points, and where depth jumps."""

from __future__ import annotations

import cv2
import numpy as np

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.errors import BadInput

__all__ = ["CameraModel", "depth_edges", "points_from_depth", "valid_depth"]

_REACH = 4  # pixels: second differences of inverse depth are taken this far apart
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


def valid_depth(depth: np.ndarray, minimum: float = 0.0, maximum: float = np.inf) -> np.ndarray:
    """Returns (H, W) uint8, 255 where depth is finite, above 0 and within [minimum, maximum] metres, else 0."""
    lower, upper = max(float(minimum), _SMALLEST), min(float(maximum), _FARTHEST)
    return cv2.inRange(np.asarray(depth, np.float32), lower, upper)


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
    readings = valid_depth(depth)
    inverse = cv2.divide(1.0, np.asarray(depth, np.float32))
    # Pixels without reading must not count as the nearest or the farthest of their neighbourhood.
    nearest = np.zeros(inverse.shape, np.float32)
    cv2.copyTo(inverse, readings, nearest)
    farthest = np.full(inverse.shape, 1e30, np.float32)
    cv2.copyTo(inverse, readings, farthest)
    neighbours = np.ones((3, 3), np.uint8)
    steep = cv2.dilate(nearest, neighbours) > (1 + threshold) * cv2.erode(farthest, neighbours)

    second = np.zeros((1, 2 * _REACH + 1), np.float32)
    second[0, [0, _REACH, -1]] = 1, -2, 1
    across = cv2.filter2D(nearest, -1, second, borderType=cv2.BORDER_REPLICATE)
    down = cv2.filter2D(nearest, -1, second.T, borderType=cv2.BORDER_REPLICATE)
    if min(inverse.shape) > 2 * _REACH:  # the image's border is no bend; one beside it is found from inside
        across[:, :_REACH] = across[:, -_REACH:] = 0
        down[:_REACH] = down[-_REACH:] = 0
    bent = np.maximum(np.abs(across), np.abs(down)) > threshold * nearest
    near_bend = cv2.dilate(bent.view(np.uint8), np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8))
    return steep & (near_bend > 0) & (readings > 0)


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
