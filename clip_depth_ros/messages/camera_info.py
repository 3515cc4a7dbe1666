"""sensor_msgs/CameraInfo read as a camera model, without ROS: rosbags' objects and ROS messages alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.errors import BadInput

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo


def camera_from_message(message: CameraInfo) -> CameraModel:
    """Returns the camera of the image as it is delivered.

    K and P of the message are for the full sensor (REP 104): the region of interest moves their principal points,
    binning divides them. K[0] == 0 is no error: the model then says that it is not calibrated.

    Raises:
        BadInput: NaN in K, D, R or P; a distortion model that is unknown or has another number of coefficients; a
            region of interest outside the sensor. The sentence names the message's frame.
    """
    rotation = np.asarray(message.r, np.float64).reshape(3, 3)
    try:
        full = CameraModel(
            width=message.width,
            height=message.height,
            intrinsics=np.asarray(message.k, np.float64).reshape(3, 3),
            distortion_model=message.distortion_model,
            distortion=np.asarray(message.d, np.float64),
            rectification=rotation if rotation.any() else np.eye(3),
            projection=np.asarray(message.p, np.float64).reshape(3, 4),
        )
        return _delivered(full, message)
    except BadInput as error:
        raise BadInput(f"camera_info of frame {message.header.frame_id!r}: {error}") from error


def _delivered(full: CameraModel, message: CameraInfo) -> CameraModel:
    """Applies the region of interest, then binning, as REP 104 orders them."""
    roi = message.roi
    left, top, width, height = roi.x_offset, roi.y_offset, roi.width, roi.height
    if (left, top, width, height) == (0, 0, 0, 0):
        width, height = full.width, full.height
    across, down = max(1, message.binning_x), max(1, message.binning_y)
    if (left, top, width, height, across, down) == (0, 0, full.width, full.height, 1, 1):
        return full
    if width < across or height < down or left + width > full.width or top + height > full.height:
        raise BadInput(
            f"region of interest {width}x{height} at ({left}, {top}), binned {across}x{down}, does not fit the "
            f"{full.width}x{full.height} sensor: correct roi and binning, or set them to 0"
        )
    ratios = np.array([[1 / across], [1 / down], [1.0]])
    shift = np.array([[left], [top], [0.0]])
    intrinsics, projection = full.intrinsics.copy(), full.projection.copy()
    if full.is_calibrated:
        intrinsics[:, 2:3] -= shift
        projection[:, 2:3] -= shift
    return replace(
        full,
        width=width // across,
        height=height // down,
        intrinsics=intrinsics * ratios,
        projection=projection * ratios,
    )


def matching_camera(camera: CameraModel, width: int, height: int) -> CameraModel:
    """Returns ``camera`` if it is of images of ``width`` x ``height`` pixels; else BadInput with both sizes."""
    if (camera.width, camera.height) != (width, height):
        raise BadInput(
            f"the image is {width}x{height} but its camera_info describes {camera.width}x{camera.height}: publish "
            "the camera_info of this image (resized, binned or cropped as it is)"
        )
    return camera
