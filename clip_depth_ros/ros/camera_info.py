"""sensor_msgs/CameraInfo: read as a camera model, written beside a depth image."""

from __future__ import annotations

from array import array
from dataclasses import replace

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from clip_depth_ros.depth.geometry import CameraModel
from clip_depth_ros.errors import BadInput


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
