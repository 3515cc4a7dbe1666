"""Rays and rectification maps are computed aside: frames flow meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from rig import Rig, camera_info, image, stamp_of
from sensor_msgs.msg import Image, PointCloud2

from clip_depth_ros.depth.geometry import CameraModel
from clip_depth_ros.ros.geometry_keeper import GeometryKeeper


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Makes all rays wait for the event."""
    go_on, rays = threading.Event(), CameraModel.rays

    def wait(camera: CameraModel) -> np.ndarray:
        go_on.wait(20)
        return rays(camera)

    monkeypatch.setattr(CameraModel, "rays", wait)
    return go_on


def test_depth_flows_while_rays_are_computed(make_rig: Callable[..., Rig], slow: threading.Event) -> None:
    rig = make_rig()
    rig.listen(Image, "depth/image")
    rig.listen(PointCloud2, "depth/points")
    rig.send("camera_info", camera_info())
    rig.until(lambda: rig.pipeline.cameras[0].stream.calibration.current.camera)
    for second in (1, 2, 3):
        rig.send("image", image(second))
        assert stamp_of(rig.answer("depth/image", second))[0] == second
    rig.status("camera", lambda values, status: "no points: the rays of the new" in status.message)
    assert rig.heard["depth/points"] == []
    slow.set()
    rig.status("camera", lambda values, status: values["points"] == "possible")
    rig.send("image", image(4))
    assert stamp_of(rig.answer("depth/points"))[0] == 4


def test_a_calibration_that_changes_meanwhile_is_next(slow: threading.Event) -> None:
    keeper = GeometryKeeper(rectify=False)
    first, second = (CameraModel.pinhole(64, 48, focal, focal, 32, 24) for focal in (50.0, 60.0))
    assert keeper.get(first) is None
    assert keeper.get(second) is None
    slow.set()
    deadline = time.monotonic() + 20
    while (geometry := keeper.get(second)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert geometry.camera is second
    assert geometry.rectifier is None


def test_what_cannot_be_computed_is_said() -> None:
    projection = np.array([[50.0, 0, 32, 0], [0, 50, 24, 0], [0, 0, 0, 0]])  # no third row: no such camera
    camera = CameraModel(64, 48, np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]]), projection=projection)
    keeper = GeometryKeeper(rectify=True)
    assert keeper.get(camera) is None
    keeper.close()
    assert "cannot be used (Singular matrix)" in keeper.problem
