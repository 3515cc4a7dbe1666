"""camera_info in and out: the real recording's message, binning and regions of interest, and bad calibrations."""

from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: pip install 'clip_depth_ros[ros]', or source ROS 2")

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from sensor_msgs.msg import _camera_info as generated
from std_msgs.msg import Header

from clip_depth_ros.depth.geometry import points_from_depth
from clip_depth_ros.errors import BadInput
from clip_depth_ros.ros.camera_info import camera_from_message, depth_camera_info, matching_camera

HEADER = Header(stamp=Time(sec=1363639135, nanosec=456904576), frame_id="front_optical")


@pytest.fixture(autouse=True, params=["1", "0"], ids=["checked", "unchecked"])
def field_checks(request, monkeypatch):
    """Messages with the checks of ROS_PYTHON_CHECK_FIELDS on, and with them off."""
    monkeypatch.setattr(generated, "ros_python_check_fields", request.param)


def stereo_info(**changes):
    """The right camera of a distorted stereo pair, 640x480."""
    values = {
        "header": Header(stamp=Time(sec=5, nanosec=6), frame_id="right"),
        "width": 640,
        "height": 480,
        "distortion_model": "plumb_bob",
        "d": [-0.28, 0.07, 0.001, 0.0008, 0.0],
        "k": [410.0, 0.0, 322.0, 0.0, 412.0, 238.0, 0.0, 0.0, 1.0],
        "r": cv2.Rodrigues(np.array([0.01, 0.02, -0.01]))[0].ravel(),
        "p": [390.0, 0.0, 330.0, -41.0, 0.0, 390.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    }
    return CameraInfo(**{**values, **changes})


def svo_messages(shared_real):
    rosbags = pytest.importorskip("rosbags.highlevel", reason="needs rosbags: pip install 'clip_depth_ros[replay]'")
    with rosbags.AnyReader([shared_real / "bag_svo_mono_camerainfo" / "ros2_mcap"]) as reader:
        connections = [c for c in reader.connections if c.topic == "/camera/camera_info"]
        return [deserialize_message(raw, CameraInfo) for _, _, raw in reader.messages(connections)]


def test_the_cloud_of_the_real_recordings_camera_projects_back_to_its_pixels(shared_real):
    messages = svo_messages(shared_real)
    assert len(messages) == 11
    cameras = {camera_from_message(message) for message in messages}
    assert len(cameras) == 1
    camera = matching_camera(cameras.pop(), 752, 480)
    assert camera.distortion_model == "plumb_bob"
    depth = np.random.default_rng(0).uniform(0.3, 10.0, (480, 752)).astype(np.float32)
    points = points_from_depth(depth, camera.rays()).astype(np.float64).reshape(-1, 1, 3)
    k, d = messages[0].k.reshape(3, 3), np.array(messages[0].d)
    pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), k, d)
    rows, columns = np.mgrid[:480, :752]
    assert np.abs(pixels[:, 0] - np.column_stack([columns.ravel(), rows.ravel()])).max() < 0.05


def test_every_number_of_the_message_is_taken():
    message = stereo_info()
    camera = camera_from_message(message)
    assert (camera.width, camera.height, camera.distortion_model) == (640, 480, "plumb_bob")
    np.testing.assert_array_equal(camera.intrinsics.ravel(), message.k)
    np.testing.assert_array_equal(camera.distortion, message.d)
    np.testing.assert_array_equal(camera.rectification.ravel(), message.r)
    np.testing.assert_array_equal(camera.projection.ravel(), message.p)


@pytest.mark.parametrize(
    ("binning", "roi", "size"),
    [
        ((0, 0), (0, 0, 0, 0), (640, 480)),
        ((1, 1), (0, 0, 640, 480), (640, 480)),
        ((2, 2), (0, 0, 0, 0), (320, 240)),
        ((2, 4), (0, 0, 0, 0), (320, 120)),
        ((0, 0), (100, 50, 300, 200), (300, 200)),
        ((2, 2), (100, 50, 300, 200), (150, 100)),
        ((3, 3), (10, 20, 301, 200), (100, 66)),
    ],
)
def test_binning_and_region_of_interest_give_the_delivered_image(binning, roi, size):
    left, top, width, height = roi
    message = stereo_info(
        binning_x=binning[0],
        binning_y=binning[1],
        roi=RegionOfInterest(x_offset=left, y_offset=top, width=width, height=height),
    )
    camera = camera_from_message(message)
    full = camera_from_message(stereo_info())
    assert (camera.width, camera.height) == size
    across, down = max(1, binning[0]), max(1, binning[1])
    # A point of the world lands, in the delivered image, where REP 104 puts its full-resolution pixel.
    points = np.random.default_rng(1).uniform([-0.5, -0.5, 2], [0.5, 0.5, 5], (100, 3))
    np.testing.assert_allclose(camera.project(points), (full.project(points) - [left, top]) / [across, down])
    rectified = (full.rectified().project(points) - [left, top]) / [across, down]
    np.testing.assert_allclose(camera.rectified().project(points), rectified)
    assert camera.projection[0, 3] == pytest.approx(-41.0 / across)


@pytest.mark.parametrize(
    ("binning", "roi"),
    [((0, 0), (600, 0, 100, 100)), ((0, 0), (0, 400, 100, 100)), ((0, 0), (5, 5, 0, 0)), ((700, 1), (0, 0, 0, 0))],
)
def test_a_window_that_does_not_fit_the_sensor_is_refused(binning, roi):
    left, top, width, height = roi
    message = stereo_info(
        binning_x=binning[0],
        binning_y=binning[1],
        roi=RegionOfInterest(x_offset=left, y_offset=top, width=width, height=height),
    )
    with pytest.raises(BadInput, match="does not fit the 640x480 sensor"):
        camera_from_message(message)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"k": [float("nan")] * 9}, "K holds NaN"),
        ({"d": [0.1, 0.2, 0.3]}, "3 coefficients.*4 or 5"),
        ({"d": [0.1] * 8}, "8 coefficients"),
        ({"distortion_model": "omnidirectional"}, "unknown distortion model 'omnidirectional'"),
        ({"distortion_model": ""}, "5 coefficients"),
        ({"p": [float("inf")] * 12}, "P holds NaN or infinity"),
        ({"width": 0}, "0x480"),
    ],
)
def test_a_bad_calibration_is_refused_and_names_its_frame(changes, reason):
    with pytest.raises(BadInput, match=f"frame 'right'.*{reason}"):
        camera_from_message(stereo_info(**changes))


def test_an_uncalibrated_camera_is_no_error():
    assert not camera_from_message(CameraInfo(width=640, height=480)).is_calibrated
    assert not camera_from_message(CameraInfo()).is_calibrated
    binned = CameraInfo(width=640, height=480, binning_x=2, binning_y=2)
    assert not camera_from_message(binned).is_calibrated


def test_empty_distortion_is_none_whatever_the_model():
    for model in ("", "plumb_bob", "rational_polynomial", "equidistant"):
        camera = camera_from_message(stereo_info(d=[], distortion_model=model))
        np.testing.assert_allclose(camera.rays()[238, 322], [0, 0, 1], atol=1e-7)


def test_a_camera_of_another_size_is_refused_with_both_sizes():
    camera = camera_from_message(stereo_info())
    assert matching_camera(camera, 640, 480) is camera
    with pytest.raises(BadInput, match=r"image is 320x240.*describes 640x480"):
        matching_camera(camera, 320, 240)


def test_aligned_depth_keeps_the_calibration_and_takes_the_images_header():
    message = stereo_info(
        binning_x=2, binning_y=2, roi=RegionOfInterest(x_offset=8, width=600, height=400, do_rectify=True)
    )
    before = copy.deepcopy(message)
    info = depth_camera_info(message, HEADER, camera_from_message(message))
    assert info.header == HEADER
    expected = copy.deepcopy(message)
    expected.header = HEADER
    assert serialize_message(info) == serialize_message(expected)
    assert message == before


def test_rectified_depth_has_a_pinhole_calibration():
    message = stereo_info()
    info = depth_camera_info(message, HEADER, camera_from_message(message), rectify=True)
    info = deserialize_message(serialize_message(info), CameraInfo)
    assert list(info.d) == [0.0] * 5
    np.testing.assert_array_equal(info.k, [390, 0, 330, 0, 390, 240, 0, 0, 1])
    np.testing.assert_array_equal(info.r, np.eye(3).ravel())
    np.testing.assert_array_equal(info.p, message.p)
    assert (info.width, info.height, info.header) == (640, 480, HEADER)
    assert camera_from_message(info).rectified() == camera_from_message(message).rectified()


def test_a_rectified_window_agrees_with_the_rectified_camera():
    message = stereo_info(
        binning_x=2, binning_y=2, roi=RegionOfInterest(x_offset=100, y_offset=50, width=300, height=200)
    )
    camera = camera_from_message(message)
    info = depth_camera_info(message, HEADER, camera, rectify=True)
    np.testing.assert_allclose(camera_from_message(info).rays(), camera.rectified().rays(), atol=1e-6)


@pytest.mark.parametrize("rectify", [False, True])
def test_a_missing_projection_is_filled_because_consumers_read_only_that(rectify):
    message = stereo_info(p=[0.0] * 12)
    info = depth_camera_info(message, HEADER, camera_from_message(message), rectify)
    np.testing.assert_array_equal(info.p, [410, 0, 322, 0, 0, 412, 238, 0, 0, 0, 1, 0])


def test_an_uncalibrated_camera_is_copied_but_cannot_be_rectified():
    message = CameraInfo(width=640, height=480)
    camera = camera_from_message(message)
    info = depth_camera_info(message, HEADER, camera)
    assert not info.p.any()
    with pytest.raises(BadInput, match=r"cannot rectify.*K\[0\] is 0"):
        depth_camera_info(message, HEADER, camera, rectify=True)
