"""sensor_msgs/PointCloud2 with x, y, z and rgb in 16 bytes a point."""

from __future__ import annotations

import cv2
import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from clip_depth_ros.depth.geometry import CameraModel, EdgeFinder, valid_depth
from clip_depth_ros.errors import BadInput
from clip_depth_ros.ros.message_data import data_array

POINT_STEP = 16
"""Bytes a point: x, y, z as float32 in metres, then rgb as 0x00RRGGBB under the type name float32."""
_PIXELS_AT_ONCE = 131_072  # the four planes computed of them take 2 MB


def cloud_message(header: Header, points: np.ndarray, rgb: np.ndarray, organised: bool = True) -> PointCloud2:
    """Returns a cloud of coloured points in the frame of ``header``.

    Args:
        header: stamp and frame of the image that the points are of, kept as they are.
        points: (H, W, 3) float32, metres; NaN where there is no point.
        rgb: (H, W, 3) uint8, the colour of each point.
        organised: True keeps the image's H x W grid with NaN in it; False drops points that are not finite
            (height 1).

    Raises:
        BadInput: points and colours differ in size.
    """
    _require_size("colours", rgb, points.shape[1], points.shape[0])
    x, y, z = cv2.split(np.ascontiguousarray(points, np.float32))
    if organised:
        message = PointCloud2()
        cv2.merge((x, y, z, _packed_colours(rgb)), dst=_grid(message, header, *points.shape[:2]))
        return message
    packed = cv2.merge((x, y, z, _packed_colours(rgb)))
    return _row(PointCloud2(), header, packed, np.isfinite(points).all(axis=2))


class CloudBuilder:
    """Turns depth images of one camera into clouds; the camera's rays are computed once.

    Not for two threads at a time: the points are computed in buffers that all calls share.

    Args:
        camera: of the depth images, calibrated.
        stride: every stride-th row and column becomes a point, 1 and up.
        minimum: nearest depth kept, metres along z.
        maximum: farthest depth kept, metres along z.
        edge_threshold: relative depth jump from which points are dropped as flying (see ``depth_edges``); 0 keeps
            all.
        organised: see ``cloud_message``.

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
        organised: bool = True,
    ) -> None:
        if stride < 1:
            raise BadInput(f"point stride is {stride}: give a whole number from 1")
        if not 0 <= minimum < maximum:
            raise BadInput(f"point range is {minimum} to {maximum} m: give 0 <= minimum < maximum")
        if not edge_threshold >= 0:
            raise BadInput(f"edge threshold is {edge_threshold}: give a relative depth jump, or 0 for no filter")
        self._camera = camera
        self._stride = stride
        self._range = (minimum, maximum)
        rays = camera.rays()[::stride, ::stride]
        height, width = rays.shape[:2]
        # One plane an axis: products of planes and one interleaving are several times faster than (H, W, 3) math.
        self._across, self._down = (np.ascontiguousarray(rays[..., axis]) for axis in (0, 1))
        seen = np.isfinite(rays[..., 0])
        self._seen = None if seen.all() else seen
        self._edges = EdgeFinder(camera.height, camera.width, edge_threshold) if edge_threshold > 0 else None
        # Points are made a few rows at a time, so that what is computed of them stays in the processor's cache.
        self._rows = max(1, min(height, _PIXELS_AT_ONCE // width))
        self._planes = np.empty((3, self._rows, width), np.float32)
        self._colours = np.empty((self._rows, width, 4), np.uint8)
        self._packed = None if organised else np.empty((height, width, 4), np.float32)

    def build(
        self, header: Header, depth: np.ndarray, rgb: np.ndarray, message: PointCloud2 | None = None
    ) -> PointCloud2:
        """Returns the cloud of one image.

        Args:
            header: of the image, kept as it is.
            depth: (H, W) float32, metres along z (REP 118), NaN where there is no reading, the camera's size.
            rgb: (H, W, 3) uint8, the image.
            message: a cloud of any CloudBuilder, already published, to write over and return: a stream of clouds
                then allocates nothing, and whoever still holds the last one sees it change. By default a new one.

        Raises:
            BadInput: depth or image are not of the camera's size.
        """
        for name, array in (("depth", depth), ("image", rgb)):
            _require_size(name, array, self._camera.width, self._camera.height)
        grid = np.s_[:: self._stride, :: self._stride]
        near = np.ascontiguousarray(depth[grid], np.float32)
        # On all pixels, before the stride: at every fourth pixel a ramp looks like a surface of its own.
        edges = None if self._edges is None else self._edges(depth)[grid]
        rgb = np.ascontiguousarray(rgb[grid])
        message = PointCloud2() if message is None else message
        if self._packed is None:
            self._fill(_grid(message, header, *near.shape), near, edges, rgb)
            return message
        self._fill(self._packed, near, edges, rgb)
        return _row(message, header, self._packed, np.isfinite(self._packed[..., 2]))

    def _fill(self, points: np.ndarray, depth: np.ndarray, edges: np.ndarray | None, rgb: np.ndarray) -> None:
        """Writes the points of all pixels, (H, W, 4) float32; NaN where there is no point."""
        for top in range(0, len(depth), self._rows):
            part = np.s_[top : top + self._rows]
            z, colours = depth[part], _packed_colours(rgb[part], self._colours[: len(depth[part])])
            x, y, scratch = self._planes[:, : len(z)]
            keep = valid_depth(z, *self._range)
            if self._seen is not None:
                np.logical_and(keep, self._seen[part], out=keep)
            if edges is not None:
                np.greater(keep, edges[part], out=keep)
            if not keep.all():
                scratch.fill(np.nan)
                z = cv2.copyTo(z, keep.view(np.uint8), scratch)
            np.multiply(self._across[part], z, out=x)
            np.multiply(self._down[part], z, out=y)
            cv2.merge((x, y, z, colours), dst=points[part])


def _packed_colours(rgb: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) float32 whose bits are 0x00RRGGBB (all of ROS 2's platforms are little-endian).

    ``out``, (H, W, 4) uint8, is what to write them to; by default a new array.
    """
    bgra = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGRA, dst=out)
    words = bgra.view(np.uint32)[..., 0]
    words &= np.uint32(0x00FFFFFF)
    return words.view(np.float32)


def _grid(message: PointCloud2, header: Header, height: int, width: int) -> np.ndarray:
    """Makes ``message`` a cloud of this size and returns its points, (H, W, 4) float32, to be written in place."""
    if not message.fields:
        message.fields = [
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate(("x", "y", "z", "rgb"))
        ]
        message.point_step = POINT_STEP
        message.is_bigendian = message.is_dense = False
    message.header = header
    message.height, message.width, message.row_step = height, width, POINT_STEP * width
    return data_array(message, POINT_STEP * width * height).view(np.float32).reshape(height, width, 4)


def _row(message: PointCloud2, header: Header, packed: np.ndarray, keep: np.ndarray) -> PointCloud2:
    """Makes ``message`` a cloud of height 1 with those points of ``packed`` (H, W, 4) float32 that are to be kept."""
    # Taking rows by number is ten times faster than indexing with a mask.
    numbers = np.flatnonzero(keep)
    points = _grid(message, header, 1, len(numbers))
    packed.reshape(-1, 4).take(numbers, axis=0, out=points[0], mode="clip")  # other modes buffer what they write
    return message


def _require_size(name: str, array: np.ndarray, width: int, height: int) -> None:
    if array.shape[:2] != (height, width):
        raise BadInput(
            f"the cloud needs {name} of {width}x{height} but got {array.shape[1]}x{array.shape[0]}: use the "
            "camera_info of this image size"
        )
