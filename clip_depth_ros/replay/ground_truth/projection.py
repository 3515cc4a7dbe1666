"""Points become a depth image: nearest wins, and what the camera cannot see through a nearer surface is dropped."""

from __future__ import annotations

import cv2
import numpy as np

from clip_depth_ros.depth.camera import CameraModel


def depth_of_points(points: np.ndarray, camera: CameraModel) -> np.ndarray:
    """Draws points into the picture of a camera, lens distortion included.

    Args:
        points: ``(N, 3)`` metres in the camera's optical frame.
        camera: calibrated.

    Returns:
        ``(H, W)`` float32, metres along Z; 0 where no point falls. Of several points on a pixel, the nearest.
    """
    points = points[points[:, 2] > 0]
    pixels = camera.project(points)
    inside = ((pixels > -0.5) & (pixels < np.array([camera.width, camera.height]) - 0.5)).all(axis=1)  # NaN: False
    columns, rows = np.rint(pixels[inside]).astype(np.intp).T
    # A pixel edge may round outwards: to the even one of two.
    columns, rows = columns.clip(0, camera.width - 1), rows.clip(0, camera.height - 1)
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    np.minimum.at(depth, (rows, columns), points[inside, 2].astype(np.float32))
    depth[np.isinf(depth)] = 0
    return depth


def without_occluded(depth: np.ndarray, relative: float, pixels: int) -> np.ndarray:
    """Drops points that lie behind a nearer one close by.

    A sensor beside the camera looks past objects onto walls that they hide from the camera; between the sparse points
    of the object, those of the wall shine through. A point is dropped when another one at most ``pixels`` rows and
    columns away is nearer by more than the part ``relative`` of its own depth. Where scan lines on the object are
    farther apart than ``pixels``, points shine through still; on a floor near the horizon, whose depth grows by more
    than ``relative`` within ``pixels`` rows, true points are lost.

    Args:
        depth: ``(H, W)`` float32 metres, 0 = none.
        relative: 0 keeps all.
        pixels: half the side of the square looked at, 1 and up.
    """
    if not relative > 0:
        return depth
    filled = np.where(depth > 0, depth, np.float32(np.inf))
    side = 2 * pixels + 1
    nearest = cv2.erode(filled, np.ones((side, side), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.where(nearest < depth * np.float32(1 - relative), np.float32(0), depth)
