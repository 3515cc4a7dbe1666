"""Messages for bags, from arrays: rosbags' objects with the fields and bytes that a node would publish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_depth_ros.depth.cloud import FIELDS, POINT_STEP

if TYPE_CHECKING:
    from clip_depth_ros.depth.camera import CameraModel

_FLOAT32 = 7  # sensor_msgs/PointField


class MessageMaker:
    """Makes messages.

    Args:
        types: message classes by name, those of a rosbags type store.
    """

    def __init__(self, types: Mapping[str, Any]) -> None:
        self._types = types

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """Returns a ``std_msgs/Header``; ``stamp_ns`` in nanoseconds."""
        return self._header(*divmod(stamp_ns, 1_000_000_000), frame_id)

    def header_like(self, header: Any) -> Any:
        """Returns a header with the stamp and frame of another, a rosbags object or a ROS message."""
        return self._header(header.stamp.sec, header.stamp.nanosec, header.frame_id)

    def image(self, header: Any, encoding: str, pixels: np.ndarray) -> Any:
        """Returns a ``sensor_msgs/Image`` of ``(H, W)`` or ``(H, W, C)`` pixels of the encoding's type."""
        height, width = pixels.shape[:2]
        pixels = np.ascontiguousarray(pixels)
        return self._types["sensor_msgs/msg/Image"](
            header=header,
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=pixels.view(np.uint8).reshape(-1),
        )

    def camera_info(self, header: Any, camera: CameraModel) -> Any:
        """Returns a ``sensor_msgs/CameraInfo`` of the image as it is: without binning and region of interest."""
        whole_image = self._types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._types["sensor_msgs/msg/CameraInfo"](
            header=header,
            height=camera.height,
            width=camera.width,
            distortion_model=camera.distortion_model or "plumb_bob",
            d=np.asarray(camera.distortion if camera.distortion.size else np.zeros(5), np.float64),
            k=np.asarray(camera.intrinsics, np.float64).reshape(-1),
            r=np.asarray(camera.rectification, np.float64).reshape(-1),
            p=np.asarray(camera.projection, np.float64).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=whole_image,
        )

    def cloud(self, header: Any, points: np.ndarray) -> Any:
        """Returns an organised ``sensor_msgs/PointCloud2`` of ``(H, W, 4)`` float32 x, y, z, rgb (PointGrid's)."""
        height, width = points.shape[:2]
        field = self._types["sensor_msgs/msg/PointField"]
        return self._types["sensor_msgs/msg/PointCloud2"](
            header=header,
            height=height,
            width=width,
            fields=[
                field(name=name, offset=4 * index, datatype=_FLOAT32, count=1) for index, name in enumerate(FIELDS)
            ],
            is_bigendian=False,
            point_step=POINT_STEP,
            row_step=POINT_STEP * width,
            data=points.view(np.uint8).reshape(-1),
            is_dense=False,
        )

    def transform(self, header: Any, child: str, matrix: np.ndarray) -> Any:
        """Returns a ``tf2_msgs/TFMessage``: ``child`` in the header's frame is at ``matrix`` ``(4, 4)``, metres."""
        from scipy.spatial.transform import Rotation

        x, y, z = (float(value) for value in matrix[:3, 3])
        turn = [float(value) for value in Rotation.from_matrix(matrix[:3, :3]).as_quat()]
        transform = self._types["geometry_msgs/msg/TransformStamped"](
            header=header,
            child_frame_id=child,
            transform=self._types["geometry_msgs/msg/Transform"](
                translation=self._types["geometry_msgs/msg/Vector3"](x, y, z),
                rotation=self._types["geometry_msgs/msg/Quaternion"](*turn),
            ),
        )
        return self._types["tf2_msgs/msg/TFMessage"](transforms=[transform])

    def _header(self, seconds: int, nanoseconds: int, frame_id: str) -> Any:
        stamp = self._types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
        return self._types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)
