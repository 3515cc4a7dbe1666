"""Ground truth of a picture from what was measured with it: a depth image, registered or not, or LiDAR scans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.camera_info import matching_camera
from clip_depth_ros.replay.ground_truth.arrays import read_depth, read_points
from clip_depth_ros.replay.ground_truth.extrinsics import Placement
from clip_depth_ros.replay.ground_truth.projection import depth_of_points, without_occluded
from clip_depth_ros.replay.ground_truth.survey import CameraTrack
from clip_depth_ros.replay.ground_truth.transforms import apply


@dataclass(frozen=True)
class View:
    """One picture as its ground truth needs it: when it was taken, its size in pixels, its camera where known."""

    time_ns: int
    width: int
    height: int
    camera: CameraModel | None

    def calibrated(self) -> CameraModel:
        """Returns the camera; BadInput where nobody knows it."""
        if self.camera is None:
            raise BadInput("Points cannot be put into pictures of an unknown camera: give --camera-info.")
        return self.camera


Measurement = tuple[int, Any]
"""Header stamp (nanoseconds) and decoded message."""


class Truth(Protocol):
    """Makes the depth of a picture from the measurements that belong to it."""

    def __call__(self, view: View, measurements: Sequence[Measurement]) -> np.ndarray:
        """Returns ``(H, W)`` float32 metres along Z in the picture's pixels, 0 = none.

        Raises:
            BadInput: a measurement is damaged or does not fit the picture.
            NoTransformError: the recording does not say where the sensor was.
        """
        ...


class RegisteredDepth:
    """Depth images whose pixels are the picture's; those of another size are resized to the nearest pixel."""

    def __call__(self, view: View, measurements: Sequence[Measurement]) -> np.ndarray:
        """See :class:`Truth`."""
        depth = read_depth(measurements[0][1])
        height, width = depth.shape
        if (width, height) == (view.width, view.height):
            return depth
        if not same_aspect((width, height), (view.width, view.height)):
            raise BadInput(
                f"The depth is {width}x{height} and the pictures are {view.width}x{view.height}, another shape, and "
                "there is no camera_info of the depth camera: record it, or register depth to the pictures."
            )
        return cv2.resize(depth, (view.width, view.height), interpolation=cv2.INTER_NEAREST_EXACT)


class ReprojectedDepth:
    """Depth images of another camera: their pixels become points, which the picture's camera sees.

    Where the picture is finer than the depth image, pixels between the points stay empty.

    Args:
        cameras: of the depth images.
        placement: picture's camera <- depth camera.
        occlusion: see :func:`without_occluded`.
    """

    def __init__(self, cameras: CameraTrack, placement: Placement, occlusion: float) -> None:
        self._cameras, self._placement, self._occlusion = cameras, placement, occlusion

    def __call__(self, view: View, measurements: Sequence[Measurement]) -> np.ndarray:
        """See :class:`Truth`."""
        ((time_ns, message),) = measurements
        depth = read_depth(message)
        source = matching_camera(self._cameras.at(time_ns), depth.shape[1], depth.shape[0])
        points = (source.rays() * depth[..., None])[depth > 0].astype(np.float64)
        points = points[np.isfinite(points).all(axis=1)]
        camera = view.calibrated()
        drawn = depth_of_points(apply(self._placement(view.time_ns, time_ns), points), camera)
        # Points of one surface are this far apart; nothing farther is needed to find those that shine through.
        pitch = math.ceil(camera.intrinsics[0, 0] / source.intrinsics[0, 0])
        return without_occluded(drawn, self._occlusion, pitch)


class LidarDepth:
    """LiDAR scans: their points, moved to where the camera was at the picture's time, fall on its pixels.

    A scan counts as taken at its header stamp: motion during the scan is not undone.

    Args:
        placement: camera <- LiDAR.
        occlusion: see :func:`without_occluded`.
        occlusion_pixels: likewise.
    """

    def __init__(self, placement: Placement, occlusion: float, occlusion_pixels: int) -> None:
        self._placement, self._occlusion, self._pixels = placement, occlusion, occlusion_pixels

    def __call__(self, view: View, measurements: Sequence[Measurement]) -> np.ndarray:
        """See :class:`Truth`."""
        scans = [
            apply(self._placement(view.time_ns, time_ns), read_points(message)) for time_ns, message in measurements
        ]
        drawn = depth_of_points(np.concatenate(scans), view.calibrated())
        return without_occluded(drawn, self._occlusion, self._pixels)


def same_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Returns whether two sizes (width, height) are of one shape, to within a pixel of the smaller."""
    small, large = sorted((one, other))
    return abs(small[0] * large[1] / large[0] - small[1]) < 1


def is_registered(depth: CameraModel, picture: CameraModel) -> bool:
    """Returns whether a depth camera of the picture's frame sees the picture's pixels, at its own size."""
    if not same_aspect((depth.width, depth.height), (picture.width, picture.height)):
        return False
    resized = picture.scaled(depth.width, depth.height)
    if depth.distortion.any() or picture.distortion.any():
        lenses = [(one.distortion_model, one.distortion.round(6).tolist()) for one in (depth, picture)]
        if lenses[0] != lenses[1]:
            return False
    return bool(np.abs(depth.intrinsics - resized.intrinsics).max() < 0.75)
