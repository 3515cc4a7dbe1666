"""Depth images to coloured points as they lie in a cloud message: x, y, z and rgb, 16 bytes a point."""

from __future__ import annotations

import cv2
import numpy as np

from clip_depth_ros.depth.geometry import CameraModel, EdgeFinder, depth_bounds
from clip_depth_ros.errors import BadInput

POINT_STEP = 16
"""Bytes a point: x, y, z as float32 in metres, then rgb as 0x00RRGGBB under the type name float32."""
FIELDS = ("x", "y", "z", "rgb")
"""Names of a point's four float32, each 4 bytes after the one before."""
_PIXELS_AT_ONCE = 307_200  # 640x480 is done at once; the four planes computed of them take 4.9 MB


class PointGrid:
    """Turns depth images of one camera into grids of points; the camera's rays are computed once.

    Not for two threads at a time: the points are computed in buffers that all calls share.

    Args:
        camera: of the depth images, calibrated.
        stride: every stride-th row and column becomes a point, 1 and up.
        minimum: nearest depth kept, metres along z.
        maximum: farthest depth kept, metres along z.
        edge_threshold: relative depth jump from which points are dropped as flying (see ``depth_edges``); 0 keeps
            all.

    Attributes:
        shape: rows and columns of the grid.

    Raises:
        BadInput: a camera that is not calibrated, or a number out of its range.
    """

    def __init__(
        self,
        camera: CameraModel,
        stride: int = 1,
        minimum: float = 0.0,
        maximum: float = np.inf,
        edge_threshold: float = 0.0,
    ) -> None:
        if stride < 1:
            raise BadInput(f"point stride is {stride}: give a whole number from 1")
        if not 0 <= minimum < maximum:
            raise BadInput(f"point range is {minimum} to {maximum} m: give 0 <= minimum < maximum")
        if not edge_threshold >= 0:
            raise BadInput(f"edge threshold is {edge_threshold}: give a relative depth jump, or 0 for no filter")
        self._camera = camera
        self._stride = stride
        self._range = depth_bounds(minimum, maximum)
        rays = camera.rays()[::stride, ::stride]
        height, width = rays.shape[:2]
        self.shape: tuple[int, int] = (height, width)
        # One plane an axis: products of planes and one interleaving are several times faster than (H, W, 3) math.
        self._across, self._down = (np.ascontiguousarray(rays[..., axis]) for axis in (0, 1))
        unseen = np.isnan(rays[..., 0])
        self._unseen = unseen if unseen.any() else None
        self._edges = EdgeFinder(camera.height, camera.width, edge_threshold) if edge_threshold > 0 else None
        # Points are made a few rows at a time, so that what is computed of them stays in the processor's cache.
        self._rows = max(1, min(height, _PIXELS_AT_ONCE // width))
        self._planes = np.empty((3, self._rows, width), np.float32)
        self._colours = np.empty((self._rows, width, 4), np.uint8)
        self._drop = np.empty((2, self._rows, width), bool)

    def require_sizes(self, depth: np.ndarray, rgb: np.ndarray) -> None:
        """Raises BadInput where depth or image are not of the camera's size."""
        for name, array in (("depth", depth), ("image", rgb)):
            require_size(name, array, self._camera.width, self._camera.height)

    def write(self, depth: np.ndarray, rgb: np.ndarray, points: np.ndarray) -> None:
        """Writes the points of one image.

        Args:
            depth: (H, W) float32, metres along z (REP 118), NaN where there is no reading, the camera's size.
            rgb: (H, W, 3) uint8, the image.
            points: (*shape, 4) float32 to write to: x, y, z in metres, NaN where there is no point, and the colour as
                the bits 0x00RRGGBB.

        Raises:
            BadInput: depth or image are not of the camera's size.
        """
        self.require_sizes(depth, rgb)
        grid = np.s_[:: self._stride, :: self._stride]
        near = np.ascontiguousarray(depth[grid], np.float32)
        # On all pixels, before the stride: at every fourth pixel a ramp looks like a surface of its own.
        edges = None if self._edges is None else self._edges(depth)[grid]
        self._fill(points, near, edges, np.ascontiguousarray(rgb[grid]))

    def _fill(self, points: np.ndarray, depth: np.ndarray, edges: np.ndarray | None, rgb: np.ndarray) -> None:
        for top in range(0, len(depth), self._rows):
            part = np.s_[top : top + self._rows]
            z, colours = depth[part], packed_colours(rgb[part], self._colours[: len(depth[part])])
            x, y, scratch = self._planes[:, : len(z)]
            drop = self._dropped(z, part)
            if edges is not None:
                np.logical_or(drop, edges[part], out=drop)
            if drop.any():
                scratch.fill(np.nan)
                z = cv2.copyTo(z, np.logical_not(drop, out=drop).view(np.uint8), scratch)
            np.multiply(self._across[part], z, out=x)
            np.multiply(self._down[part], z, out=y)
            cv2.merge((x, y, z, colours), dst=points[part])

    def _dropped(self, z: np.ndarray, part: slice) -> np.ndarray:
        """Returns which pixels are out of range or without a ray. NaN is neither: it becomes no point by itself."""
        drop, far = self._drop[:, : len(z)]
        np.less(z, self._range[0], out=drop)
        np.logical_or(drop, np.greater(z, self._range[1], out=far), out=drop)
        return drop if self._unseen is None else np.logical_or(drop, self._unseen[part], out=drop)


def packed_colours(rgb: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) float32 whose bits are 0x00RRGGBB (all of ROS 2's platforms are little-endian).

    ``out``, (H, W, 4) uint8, is what to write them to; by default a new array.
    """
    bgra = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGRA, dst=out)
    words = bgra.view(np.uint32)[..., 0]
    words &= np.uint32(0x00FFFFFF)
    return words.view(np.float32)


def require_size(name: str, array: np.ndarray, width: int, height: int) -> None:
    """Raises BadInput, naming ``name``, where an image is not of ``width`` x ``height`` pixels."""
    if array.shape[:2] != (height, width):
        raise BadInput(
            f"the cloud needs {name} of {width}x{height} but got {array.shape[1]}x{array.shape[0]}: use the "
            "camera_info of this image size"
        )
