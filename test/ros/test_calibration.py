"""camera_info late, missing, wrong or changing: depth always flows, and diagnostics say why points do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from rig import Rig, camera_info, image, stamp_of
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from clip_depth_ros.ros.calibration import CalibrationKeeper, Rectifier

MakeRig = Callable[..., Rig]


def _nan_in_k(message: CameraInfo) -> None:
    message.k[2] = float("nan")


def _uncalibrated(message: CameraInfo) -> None:
    message.k = [0.0] * 9
    message.p = [0.0] * 12


def _short_d(message: CameraInfo) -> None:
    message.d = [0.1, 0.2, 0.3]


def _another_size(message: CameraInfo) -> None:
    message.width, message.height = 128, 96


def _unknown_model(message: CameraInfo) -> None:
    message.distortion_model = "mirror_ball"


BAD = {
    "NaN": _nan_in_k,
    "not calibrated": _uncalibrated,
    "3 coefficients": _short_d,
    "64x48 but its camera_info describes 128x96": _another_size,
    "mirror_ball": _unknown_model,
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_camera_info_stops_points_alone_and_a_good_one_brings_them(make_rig: MakeRig, reason: str) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    rig.listen(PointCloud2, "depth/points")
    bad = camera_info()
    BAD[reason](bad)
    rig.send("camera_info", bad)
    rig.until(lambda: rig.pipeline.cameras[0].stream.calibration.current.message)
    rig.send("image", image(1))
    assert stamp_of(rig.answer("depth/image"))[0] == 1
    values = rig.status("camera", lambda values, status: "no points" in status.message)
    sought = "uncalibrated" if reason == "not calibrated" else reason
    assert sought in values["points"]
    assert rig.heard["depth/points"] == []
    rig.send("camera_info", camera_info())
    rig.until(lambda: rig.pipeline.cameras[0].stream.calibration.current.camera)
    rig.until(lambda: rig.pipeline.cameras[0].stream.calibration.current.problem == "")
    rig.until(lambda: rig.pipeline.cameras[0].stream.calibration.current.camera.width == 64)
    rig.send("image", image(2))
    assert stamp_of(rig.answer("depth/points")) == (2, 7, "camera")
    rig.status("camera", lambda values, status: values["points"] == "possible")


def test_late_camera_info_starts_the_points(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    rig.listen(PointCloud2, "depth/points")
    rig.send("image", image(1))
    rig.answer("depth/image")
    values = rig.status("camera", lambda values, status: "no points" in status.message)
    assert values["points"] == "no camera_info arrived on /camera_info"
    rig.send("camera_info", camera_info())
    rig.until(lambda: rig.pipeline.cameras[0].stream.calibration.current.camera)
    rig.send("image", image(2))
    assert stamp_of(rig.answer("depth/points"))[0] == 2


def test_a_new_focal_length_moves_the_points(make_rig: MakeRig) -> None:
    rig = make_rig(points__edge_threshold=0.0)
    rig.listen(PointCloud2, "depth/points")
    across = []
    for count, focal in enumerate((50.0, 25.0), start=1):
        rig.send("camera_info", camera_info(focal=focal))
        keeper = rig.pipeline.cameras[0].stream.calibration
        rig.until(lambda focal=focal, keeper=keeper: keeper.current.camera and keeper.current.message.k[0] == focal)
        rig.send("image", image(count))
        cloud = rig.answer("depth/points", count)
        points = np.frombuffer(cloud.data, np.float32).reshape(48, 64, 4)
        across.append(points[24, 0, 0] / points[24, 0, 2])
    assert across == pytest.approx([-31.5 / 50, -31.5 / 25], rel=1e-5)


def test_equal_messages_are_read_once() -> None:
    keeper = CalibrationKeeper("/camera_info")
    keeper.update(camera_info())
    first = keeper.current
    again = camera_info()
    again.header.stamp.sec = 99
    keeper.update(again)
    assert keeper.current is first
    keeper.update(camera_info(focal=51.0))
    assert keeper.current is not first


def test_binned_and_cropped_camera_info_serves_the_image_as_delivered() -> None:
    keeper = CalibrationKeeper("/camera_info")
    message = camera_info(128, 96)
    message.binning_x = message.binning_y = 2
    keeper.update(message)
    assert keeper.current.problem_for(64, 48) == ""
    assert "128x96" in keeper.current.problem_for(128, 96)


def test_a_rectifier_knows_where_it_shows_nothing() -> None:
    keeper = CalibrationKeeper("/camera_info")
    message = camera_info()
    message.p[0] = message.p[5] = 40.0  # a shorter focal length sees past the border of the image
    keeper.update(message)
    rectifier = Rectifier(keeper.current.camera)
    white = np.full((48, 64, 3), 255, np.uint8)
    rectified = rectifier(white)
    assert rectifier.camera.intrinsics[0, 0] == 40.0
    assert (rectified[~rectifier.outside] == 255).all()
    # 64 columns seen at 40 / 50 of their size are 51 columns, 48 rows are 38.
    assert abs((~rectifier.outside).sum() - 51 * 38) < 100
