"""Transforms of a recording, and extrinsics from a file, against poses worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from bag_scenes import (
    BASE_FROM_CAMERA,
    BASE_FROM_LIDAR,
    CAMERA_FRAME,
    LIDAR_FRAME,
    odom_from_base,
    odometry,
    static_transforms,
    yaw_quaternion,
)
from recordings import START_NS

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.ground_truth.extrinsics import Placement, read_extrinsics
from clip_depth_ros.replay.ground_truth.transforms import NoTransformError, TransformBuffer, apply, inverse

SECOND = 1_000_000_000


@pytest.fixture
def robot() -> TransformBuffer:
    buffer = TransformBuffer()
    buffer.add_message(static_transforms()[2], static=True)
    for _, _, message in odometry(START_NS, START_NS + SECOND):
        buffer.add_message(message, static=False)
    return buffer


def test_a_chain_up_and_down_the_tree(robot):
    expected = np.linalg.inv(BASE_FROM_CAMERA) @ BASE_FROM_LIDAR
    np.testing.assert_allclose(robot.lookup(CAMERA_FRAME, LIDAR_FRAME, START_NS), expected, atol=1e-12)
    np.testing.assert_allclose(robot.lookup(LIDAR_FRAME, CAMERA_FRAME, 0), np.linalg.inv(expected), atol=1e-12)
    np.testing.assert_array_equal(robot.lookup("base", "base", 0), np.eye(4))


@pytest.mark.parametrize("after_ns", [0, 70_000_000, 93_456_789, 555_000_001, SECOND])
def test_steady_motion_is_interpolated_exactly(robot, after_ns):
    time_ns = START_NS + after_ns
    expected = odom_from_base(time_ns) @ BASE_FROM_CAMERA
    np.testing.assert_allclose(robot.lookup("odom", CAMERA_FRAME, time_ns), expected, atol=1e-9)


def test_a_turn_across_180_degrees_goes_the_short_way():
    buffer = TransformBuffer()
    for time, yaw in ((0, math.radians(170)), (100, math.radians(-170))):
        buffer.add("map", "base", time, (0, 0, 0), yaw_quaternion(yaw))
    point = apply(buffer.lookup("map", "base", 50), np.array([[1.0, 0, 0]]))
    np.testing.assert_allclose(point, [[-1, 0, 0]], atol=1e-9)


def test_times_without_transforms(robot):
    for time_ns in (START_NS - 1, START_NS + 2 * SECOND):
        with pytest.raises(NoTransformError, match="outside the time"):
            robot.lookup("odom", LIDAR_FRAME, time_ns)


def test_a_gap_is_bridged_only_when_nothing_moved():
    buffer = TransformBuffer()
    for time, x in ((0, 1.0), (5 * SECOND, 1.0), (10 * SECOND, 2.0)):
        buffer.add("map", "base", time, (x, 0, 0), (0, 0, 0, 1))
    assert buffer.lookup("map", "base", 2 * SECOND)[0, 3] == 1
    with pytest.raises(NoTransformError, match=r"gap of 5\.0 s"):
        buffer.lookup("map", "base", 7 * SECOND)


def test_names_with_a_slash_are_the_same_frames(robot):
    robot.lookup(f"/{CAMERA_FRAME}", f"/{LIDAR_FRAME}", START_NS)


def test_unknown_and_unconnected_frames_are_named(robot):
    with pytest.raises(BadInput, match=r"'velodyne' is not in .* base, camera_optical, lidar, odom;.*--extrinsics"):
        robot.lookup(CAMERA_FRAME, "velodyne", START_NS)
    robot.add("world", "beacon", 0, (0, 0, 0), (0, 0, 0, 1), static=True)
    with pytest.raises(BadInput, match=r"'beacon' \(it hangs below 'world'\) to 'camera_optical' \(below 'odom'\)"):
        robot.lookup(CAMERA_FRAME, "beacon", START_NS)
    with pytest.raises(BadInput, match="no transforms at all"):
        TransformBuffer().lookup("a", "b", 0)


def test_two_parents_and_circles_are_refused(robot):
    robot.add("other_odom", "base", START_NS, (0, 0, 0), (0, 0, 0, 1))
    with pytest.raises(BadInput, match=r"'base' has 2 parents .*\(odom, other_odom\)"):
        robot.lookup("odom", LIDAR_FRAME, START_NS)
    circle = TransformBuffer()
    circle.add("a", "b", 0, (0, 0, 0), (0, 0, 0, 1))
    circle.add("b", "a", 0, (0, 0, 0), (0, 0, 0, 1))
    with pytest.raises(BadInput, match="circle: b in a in b"):
        circle.lookup("a", "b", 0)


def test_what_is_no_transform_is_counted(robot):
    before = robot.lookup("odom", "base", START_NS)
    robot.add("odom", "base", START_NS, (0, 0, 0), (0, 0, 0, 0))
    robot.add("odom", "base", START_NS, (math.nan, 0, 0), (0, 0, 0, 1))
    robot.add("odom", "odom", START_NS, (0, 0, 0), (0, 0, 0, 1))
    assert robot.ignored == 3
    np.testing.assert_array_equal(robot.lookup("odom", "base", START_NS), before)


def test_extrinsics_as_quaternion_and_as_matrix(tmp_path):
    expected = np.linalg.inv(BASE_FROM_CAMERA) @ BASE_FROM_LIDAR
    (tmp_path / "matrix.json").write_text(json.dumps({"matrix": expected.tolist()}))
    np.testing.assert_allclose(read_extrinsics(tmp_path / "matrix.json"), expected, atol=1e-9)
    (tmp_path / "pose.yaml").write_text("translation: [1, 2, 3]\nrotation: [0, 0, 0.7071068, 0.7071068]\n")
    point = apply(read_extrinsics(tmp_path / "pose.yaml"), np.array([[1.0, 0, 0]]))
    np.testing.assert_allclose(point, [[1, 3, 3]], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("matrix: [[2,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]", "is no rotation"),
        ("matrix: [[-1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]", "is no rotation"),
        ("matrix: [[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,1,1]]", "last row"),
        ("matrix: [1, 2, 3]", "matrix must be 16 finite numbers"),
        ("translation: [0, 0, .nan]\nrotation: [0, 0, 0, 1]", "translation must be 3 finite numbers"),
        ("translation: [0, 0, 0]\nrotation: [0, 0, 1, 1]", r"length 1\.4142"),
        ("translation: [0, 0, 0]", "need translation and rotation"),
        ("translation: [0, 0", "neither YAML nor JSON"),
    ],
)
def test_extrinsics_that_are_none(tmp_path, text, complaint):
    file = tmp_path / "extrinsics.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=complaint):
        read_extrinsics(file)


def test_missing_extrinsics(tmp_path):
    with pytest.raises(BadInput, match=r"absent\.yaml cannot be read: No such file"):
        read_extrinsics(tmp_path / "absent.yaml")


@pytest.mark.parametrize("known", ["both", "lidar", "camera"])
def test_motion_between_the_two_times_is_undone(robot, known):
    """Whichever of the two frames the recording knows; the other comes from the extrinsics."""
    camera_ns, lidar_ns = START_NS + 400_000_000, START_NS + 350_000_000
    extrinsics = np.linalg.inv(BASE_FROM_CAMERA) @ BASE_FROM_LIDAR
    expected = (
        np.linalg.inv(BASE_FROM_CAMERA)
        @ np.linalg.inv(odom_from_base(camera_ns))
        @ odom_from_base(lidar_ns)
        @ BASE_FROM_LIDAR
    )
    frames = {
        "both": (CAMERA_FRAME, LIDAR_FRAME, None),
        "lidar": ("elsewhere", LIDAR_FRAME, extrinsics),
        "camera": (CAMERA_FRAME, "elsewhere", extrinsics),
    }
    placement = Placement(robot, *frames[known], fixed="odom")
    np.testing.assert_allclose(placement(camera_ns, lidar_ns), expected, atol=1e-9)
    assert np.abs(expected - extrinsics).max() > 0.03  # the motion is no rounding error


def test_the_inverse_of_a_pose():
    np.testing.assert_allclose(inverse(BASE_FROM_LIDAR), np.linalg.inv(BASE_FROM_LIDAR), atol=1e-12)
