"""sensor_msgs/CameraInfo: read as a camera model, written beside a depth image."""

from __future__ import annotations

from array import array

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from clip_depth_ros.depth.geometry import CameraModel
from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.camera_info import camera_from_message, matching_camera

__all__ = ["camera_from_message", "depth_camera_info", "matching_camera"]


def depth_camera_info(message: CameraInfo, header: Header, camera: CameraModel, rectify: bool = False) -> CameraInfo:
    """Returns the camera_info of a depth image.

    Args:
        message: the camera_info of the image that the depth is of.
        header: the header of that image: its stamp and frame, unchanged.
        camera: ``camera_from_message(message)``.
        rectify: False: depth is aligned with the image, and all is copied. True: the image was rectified first, so
            D is zero, K the left of P, R the identity.

    Consumers (depth_image_proc) read the focal length from P alone: where a calibrated camera's P is all zeros,
    it becomes [K | 0]. Size, binning, region of interest and the scale of K and P stay those of the full sensor.

    Raises:
        BadInput: ``rectify`` with a camera that is not calibrated.
    """
    if rectify and not camera.is_calibrated:
        raise BadInput(
            f"camera_info of frame {message.header.frame_id!r}: cannot rectify a camera that is not calibrated "
            "(K[0] is 0): calibrate it or switch rectify off"
        )
    k, d, r, p = (np.array(values, np.float64) for values in (message.k, message.d, message.r, message.p))
    if camera.is_calibrated and not p.any():
        p = np.hstack([k.reshape(3, 3), np.zeros((3, 1))]).ravel()
    if rectify:
        k, d, r = p.reshape(3, 4)[:, :3].ravel(), np.zeros_like(d), np.eye(3).ravel()
    return CameraInfo(
        header=header,
        height=message.height,
        width=message.width,
        distortion_model=message.distortion_model,
        d=array("d", d),
        k=k,
        r=r,
        p=p,
        binning_x=message.binning_x,
        binning_y=message.binning_y,
        roi=message.roi,
    )
