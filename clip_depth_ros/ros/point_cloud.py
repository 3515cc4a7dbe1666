"""sensor_msgs/PointCloud2 with x, y, z and rgb in 16 bytes a point."""

from __future__ import annotations

import cv2
import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from clip_depth_ros.depth.geometry import CameraModel, depth_edges, valid_depth
from clip_depth_ros.errors import BadInput

POINT_STEP = 16
"""Bytes a point: x, y, z as float32 in metres, then rgb as 0x00RRGGBB under the type name float32."""


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
    packed = cv2.merge((x, y, z, _packed_colours(rgb)))
    keep = None if organised else np.isfinite(points).all(axis=2)
    return _message(header, packed, keep)


class CloudBuilder:
    """Turns depth images of one camera into clouds; the camera's rays are computed once.

    Not for two threads at a time: the points are put together in one buffer that all calls share.

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
        self._edge_threshold = edge_threshold
        self._organised = organised
        rays = camera.rays()[::stride, ::stride]
        # One plane an axis: products of planes and one interleaving are several times faster than (H, W, 3) math.
        self._across, self._down = (np.ascontiguousarray(rays[..., axis]) for axis in (0, 1))
        self._seen = np.isfinite(rays[..., 0]).astype(np.uint8) * 255
        self._planes = np.empty((3, *self._seen.shape), np.float32)
        self._packed = np.empty((*self._seen.shape, 4), np.float32)

    def build(self, header: Header, depth: np.ndarray, rgb: np.ndarray) -> PointCloud2:
        """Returns the cloud of one image.

        Args:
            header: of the image, kept as it is.
            depth: (H, W) float32, metres along z (REP 118), NaN where there is no reading, the camera's size.
            rgb: (H, W, 3) uint8, the image.

        Raises:
            BadInput: depth or image are not of the camera's size.
        """
        for name, array in (("depth", depth), ("image", rgb)):
            _require_size(name, array, self._camera.width, self._camera.height)
        grid = np.s_[:: self._stride, :: self._stride]
        near = np.ascontiguousarray(depth[grid], np.float32)
        keep = cv2.bitwise_and(valid_depth(near, *self._range), self._seen)
        if self._edge_threshold > 0:
            # On all pixels, before the stride: at every fourth pixel a ramp looks like a surface of its own.
            keep *= ~depth_edges(depth, self._edge_threshold)[grid]
        x, y, z = self._planes
        z.fill(np.nan)
        cv2.copyTo(near, keep, z)
        np.multiply(self._across, z, out=x)
        np.multiply(self._down, z, out=y)
        cv2.merge((x, y, z, _packed_colours(rgb[grid])), dst=self._packed)
        return _message(header, self._packed, None if self._organised else keep)


def _packed_colours(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) float32 whose bits are 0x00RRGGBB (all of ROS 2's platforms are little-endian)."""
    bgra = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGRA)
    words = bgra.view(np.uint32)[..., 0]
    words &= np.uint32(0x00FFFFFF)
    return words.view(np.float32)


def _message(header: Header, packed: np.ndarray, keep: np.ndarray | None) -> PointCloud2:
    """(H, W, 4) float32 -> cloud; with ``keep`` (H, W) only points where it is not 0, in one row."""
    height, width = packed.shape[:2]
    if keep is not None:
        # Taking rows by number is ten times faster than indexing with a mask.
        packed = packed.reshape(-1, 4).take(np.flatnonzero(keep), axis=0)
        height, width = 1, len(packed)
    message = PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=[
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate(("x", "y", "z", "rgb"))
        ],
        is_bigendian=False,
        point_step=POINT_STEP,
        row_step=POINT_STEP * width,
        is_dense=False,
    )
    # Into the array that the message already owns: its setter would check or copy every byte.
    message.data.frombytes(packed.reshape(-1).view(np.uint8))
    return message


def _require_size(name: str, array: np.ndarray, width: int, height: int) -> None:
    if array.shape[:2] != (height, width):
        raise BadInput(
            f"the cloud needs {name} of {width}x{height} but got {array.shape[1]}x{array.shape[0]}: use the "
            "camera_info of this image size"
        )
