"""Real recordings through the running node: one output for each image, its stamp, frame and size, and its points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from image_messages import make_image
from node_runner import RemoteNode
from rclpy.serialization import deserialize_message
from rig import depth_array, stamp_of, stamped
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.ros.calibration import Calibration
from clip_depth_ros.ros.camera_info import camera_from_message

FISHEYES = ("front", "left", "right", "rear")


def recorded(path: Path, kind: type, topic: str) -> list[Any]:
    """The messages of a bag's topic, as the recorder wrote them."""
    with BagReader(path) as bag:
        return [deserialize_message(bytes(message.data), kind) for message in bag.messages([topic])]


def expect_outputs(remote: RemoteNode, images: list[Image]) -> list[Image]:
    """Sends images one by one; checks that each gives one depth image with its header and size."""
    remote.listen(Image, "depth/image")
    for count, message in enumerate(images, start=1):
        remote.send("image", message)
        answer = remote.answer("depth/image", count)
        assert stamp_of(answer) == stamp_of(message)
        assert (answer.width, answer.height) == (message.width, message.height)
        depth = depth_array(answer)
        assert np.isfinite(depth).mean() > 0.5
        assert (depth[np.isfinite(depth)] >= 0.001).all()
    remote.settle(0.2)
    assert len(remote.heard["depth/image"]) == len(images)
    return remote.heard["depth/image"]


def expect_points(remote: RemoteNode, message: Image, info: CameraInfo) -> np.ndarray:
    """Sends a calibration and an image; checks each point against its pixel. Returns the points ``(H, W, 3)``."""
    remote.listen(PointCloud2, "depth/points")
    camera = camera_from_message(info)
    size = (info.width, info.height)

    def is_calibrated() -> bool:
        remote.send("camera_info", info)
        remote.settle(0.2)
        return remote.values("camera").get("calibration") == str(Calibration(info, camera, ""))

    def cloud_comes() -> bool:
        # The rays of a large image take a moment, during which depth flows and points do not.
        remote.send("image", message)
        remote.settle(0.3)
        return bool(remote.heard["depth/points"])

    remote.until(is_calibrated)
    remote.until(cloud_comes)
    cloud = remote.answer("depth/points")
    assert stamp_of(cloud) == stamp_of(message)
    assert (cloud.width, cloud.height) == size
    points = np.frombuffer(cloud.data, np.float32).reshape(*size[::-1], 4)[..., :3]
    seen = np.isfinite(points[..., 2])
    rows, columns = np.nonzero(seen)
    error = camera.project(points[seen]) - np.column_stack([columns, rows])
    assert len(rows) > 1000
    assert np.abs(error).max() < 0.05
    return points


def test_a_bag_whose_label_is_wrong(remote: RemoteNode, shared_real: Path) -> None:
    images = recorded(shared_real / "bag_soccer_rgb8_mislabelled", Image, "/camera/image_raw")
    assert [message.encoding for message in images] == ["rgb8"] * 2
    believed = depth_array(expect_outputs(remote, images)[0])
    remote.forget()
    assert remote.set("encoding_override", "bgr8") == ""
    try:
        corrected = depth_array(expect_outputs(remote, images)[0])
    finally:
        assert remote.set("encoding_override", "") == ""
    assert np.nanmax(np.abs(corrected - believed)) > 1e-3


def test_a_grey_bag_with_a_distorted_camera_and_old_stamps(remote: RemoteNode, shared_real: Path) -> None:
    bag = shared_real / "bag_svo_mono_camerainfo" / "ros2_mcap"
    images = recorded(bag, Image, "/camera/image_raw")
    info = recorded(bag, CameraInfo, "/camera/camera_info")[0]
    assert (len(images), images[0].encoding, images[0].header.stamp.sec) == (10, "mono8", 1363639135)
    expect_outputs(remote, images)
    remote.forget()
    assert info.distortion_model == "plumb_bob"
    expect_points(remote, images[0], info)


@pytest.mark.parametrize("name", FISHEYES)
def test_a_fisheye_camera(remote: RemoteNode, shared_real: Path, name: str) -> None:
    folder = shared_real / "cam_surround_fisheye_yaml"
    text = (folder / "camerasParam.yaml").read_text(encoding="utf-8")
    calibration = yaml.safe_load(text)[f"{name}Camera"]["ros__parameters"]
    pixels = cv2.cvtColor(cv2.imread(str(folder / f"{name}.jpg")), cv2.COLOR_BGR2RGB)
    info = CameraInfo(width=pixels.shape[1], height=pixels.shape[0], distortion_model="equidistant")
    info.k = [float(value) for value in calibration["intrinsic_matrix"]]
    info.d = [float(value) for value in calibration["distortion_coefficients"]]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message = stamped(make_image("rgb8", pixels), 77, f"{name}_fisheye")
    depth = depth_array(expect_outputs(remote, [message])[0])
    remote.forget()
    points = expect_points(remote, message, stamped(info, 77, f"{name}_fisheye"))
    blind = np.isnan(camera_from_message(info).rays()[..., 0])
    assert np.isnan(points[blind]).all()
    # The front camera's corners look past 90 degrees: there is depth in its image there, but no point.
    assert (name != "front") or (np.isfinite(depth[blind]).any() and blind.sum() > 100)


@pytest.mark.parametrize(
    "name",
    ["rgbd_hololens_rooms", "rgbd_sun3d_cubicles_1", "rgbd_tum_fr2_desk_slambook", "rgbd_open3d_tum_office"],
)
def test_rgbd_folders_with_their_camera(remote: RemoteNode, shared_real: Path, name: str) -> None:
    folder = shared_real / name
    files = sorted((folder / "rgb").iterdir())
    pictures = [cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB) for file in files[:: max(1, len(files) // 3)]]
    images = [
        stamped(make_image("rgb8", pixels), second, name, nanoseconds=second)
        for second, pixels in enumerate(pictures, start=1)
    ]
    values = json.loads((folder / "intrinsics.json").read_text(encoding="utf-8"))
    info = CameraInfo(width=images[0].width, height=images[0].height)
    info.k = [float(v) for v in (values["fx"], 0, values["cx"], 0, values["fy"], values["cy"], 0, 0, 1)]
    expect_outputs(remote, images)
    remote.forget()
    expect_points(remote, images[0], info)
