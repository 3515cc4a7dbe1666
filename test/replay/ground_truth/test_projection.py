"""Points drawn into pictures, against OpenCV's own projection."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.replay.ground_truth.projection import depth_of_points, without_occluded

K = np.array([[200.0, 0, 160.2], [0, 210.0, 118.7], [0, 0, 1]])
LENSES = {
    "plumb_bob": [-0.28, 0.09, 0.001, -0.0005, -0.01],
    "rational_polynomial": [0.4, -0.2, 0.0004, 0.0001, 0.01, 0.7, -0.15, 0.02],
    "equidistant": [-0.02, 0.004, -0.001, 0.0002],
}


@pytest.mark.parametrize("model", LENSES)
def test_points_fall_where_opencv_puts_them(model):
    rng = np.random.default_rng(3)
    z = rng.uniform(1, 30, 500)
    points = np.stack([rng.uniform(-0.6, 0.6, 500) * z, rng.uniform(-0.45, 0.45, 500) * z, z], axis=1)
    d = np.array(LENSES[model])
    if model == "equidistant":
        pixels = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), K, d)[0][:, 0]
    else:
        pixels = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, d)[0][:, 0]
    expected = np.zeros((240, 320), np.float32)
    for (column, row), depth in sorted(zip(np.rint(pixels).astype(int).tolist(), z), key=lambda pair: -pair[1]):
        if 0 <= column < 320 and 0 <= row < 240:
            expected[row, column] = depth
    drawn = depth_of_points(points, CameraModel(320, 240, K, model, d))
    assert np.count_nonzero(expected) > 300
    np.testing.assert_array_equal(drawn, expected)


def test_the_nearest_of_several_points_wins_and_what_is_behind_is_not_seen():
    camera = CameraModel.pinhole(5, 3, 10, 10, 2, 1)
    points = np.array([[0, 0, 4.0], [0, 0, 2.0], [0, 0, 3.0], [0, 0, -1.0], [0.4, 0, 2.0], [0.6, 0, 2.0], [0, 0, 0.0]])
    expected = np.zeros((3, 5), np.float32)
    expected[1, 2], expected[1, 4] = 2, 2  # 0.6 m aside is a pixel past the edge
    np.testing.assert_array_equal(depth_of_points(points, camera), expected)
    assert not depth_of_points(np.zeros((0, 3)), camera).any()


def test_the_edge_pixels_reach_half_a_pixel_out():
    camera = CameraModel.pinhole(4, 3, 1, 1, 0, 0)
    points = np.array([[-0.49, 0, 1.0], [3.49, 2, 1.0], [-0.51, 1, 1.0], [3.51, 1, 1.0]])
    assert np.argwhere(depth_of_points(points, camera)).tolist() == [[0, 0], [2, 3]]


def test_what_shines_through_a_nearer_surface_is_dropped():
    """A post of sparse points at 2 m before a wall at 10 m: the wall stays only away from the post."""
    depth = np.zeros((40, 60), np.float32)
    depth[1::4, ::2] = 10.0
    depth[::4, 20:30:2] = 2.0
    kept = without_occluded(depth, 0.1, 3)
    np.testing.assert_array_equal(kept == 2, depth == 2)
    walls = np.argwhere(kept == 10)[:, 1]
    assert set(walls) == set(range(0, 17, 2)) | set(range(32, 60, 2))  # 3 pixels beside columns 20 to 28
    np.testing.assert_array_equal(without_occluded(depth, 0, 3), depth)


def test_a_surface_that_recedes_slowly_is_kept():
    depth = np.tile(np.linspace(5, 6, 40, dtype=np.float32)[:, None], (1, 30))
    np.testing.assert_array_equal(without_occluded(depth, 0.1, 3), depth)
