"""From an image message to a picture the network takes, or to nothing when nobody wants what comes of it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from clip_depth_ros.depth.device_cloud import CloudOptions
from clip_depth_ros.ros.camera_stream import CameraStream, Frame
from clip_depth_ros.ros.geometry_keeper import GeometryKeeper
from clip_depth_ros.ros.images import decode_compressed, decode_image
from clip_depth_ros.ros.outputs import CameraOutputs, Picture, Wanted, cloud_options
from clip_depth_ros.ros.parameters import Settings


@dataclass(frozen=True)
class Camera:
    """One camera: where its pictures come from, where its results go, and its geometry."""

    stream: CameraStream
    outputs: CameraOutputs
    geometry: GeometryKeeper

    @property
    def calibration_problem(self) -> str:
        """Why the camera's calibration cannot serve its last image, or an empty string."""
        calibration, size = self.stream.calibration.current, self.stream.image_size
        return calibration.problem_for(*size) if size else calibration.problem

    @property
    def points_problem(self) -> str:
        """Why there are no points (with ``rectify``: no output at all), or an empty string."""
        return self.calibration_problem or self.geometry.problem


@dataclass(frozen=True)
class Job:
    """A frame that was read and waits for the network.

    Attributes:
        camera: whose frame it is.
        frame: the message and when its callback was entered.
        picture: what the network sees.
        wanted: what somebody subscribes to and this frame can give.
        clouds: the points among it.
        taken: when the worker took it up (``time.perf_counter`` seconds).
        read: seconds the reading took.
    """

    camera: Camera
    frame: Frame
    picture: Picture
    wanted: Wanted
    clouds: CloudOptions | None
    taken: float
    read: float


def read_frame(camera: Camera, frame: Frame, settings: Settings) -> Job | None:
    """Returns the frame ready for the network; None (counted as skipped) when nobody wants what it can give.

    Raises:
        BadInput: the message is no picture.
    """
    taken = time.perf_counter()
    wanted = camera.outputs.wanted(settings)
    if wanted:
        image = _decode(frame.message, settings)
        camera.stream.image_size = (image.shape[1], image.shape[0])
        picture, wanted = _see(camera, frame.message.header, image, wanted, settings.rectify)
    if not wanted:
        camera.stream.counters.skipped += 1
        return None
    clouds = cloud_options(wanted, settings)
    return Job(camera, frame, picture, wanted, clouds, taken, time.perf_counter() - taken)


def _decode(message: Image | CompressedImage, settings: Settings) -> np.ndarray:
    if isinstance(message, CompressedImage):
        return decode_compressed(message)
    return decode_image(message, settings.encoding_override)


def _see(camera: Camera, header: Header, image: np.ndarray, wanted: Wanted, rectify: bool) -> tuple[Picture, Wanted]:
    """Returns the picture the network gets, and what of ``wanted`` it can give with the geometry known now."""
    calibration = camera.stream.calibration.current
    model = None if calibration.problem_for(image.shape[1], image.shape[0]) else calibration.camera
    if model is None:
        return Picture(header, image, None, calibration), wanted.without_calibration(rectify)
    if not rectify and not wanted.points:
        return Picture(header, image, model, calibration), wanted
    geometry = camera.geometry.get(model)
    if geometry is None:
        return Picture(header, image, model, calibration), wanted.without_points(rectify)
    if geometry.rectifier is None:
        return Picture(header, image, model, calibration), wanted
    rectified = geometry.rectifier(image)
    return Picture(header, rectified, geometry.camera, calibration, geometry.rectifier.outside), wanted
