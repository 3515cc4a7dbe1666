"""Depth to points, and the edge filter: what hangs in the air goes, what is a surface stays."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest

from clip_depth_ros.depth import geometry
from clip_depth_ros.depth.geometry import CameraModel, EdgeFinder, depth_edges, points_from_depth, valid_depth
from clip_depth_ros.errors import BadInput

HEIGHT, WIDTH = 240, 320
FOCAL = 525.0
SHAPES = {
    "linear": lambda near, far, part: near + (far - near) * part,
    "smooth": lambda near, far, part: near + (far - near) * (0.5 - 0.5 * np.cos(np.pi * part)),
    "inverse": lambda near, far, part: 1 / (1 / near + (1 / far - 1 / near) * part),
}


def floor_depth(camera_height, farthest, pitch=0.0):
    """Depth of a floor seen by a robot whose camera is ``camera_height`` metres above it; NaN past ``farthest``."""
    rows = (np.arange(HEIGHT) - HEIGHT / 2) / FOCAL
    with np.errstate(divide="ignore"):
        depth = camera_height / (rows * np.cos(pitch) + np.sin(pitch))
    depth[(depth <= 0) | (depth > farthest)] = np.nan
    return np.repeat(depth[:, None], WIDTH, axis=1).astype(np.float32)


def test_points_are_rays_times_depth_along_z():
    camera = CameraModel.pinhole(WIDTH, HEIGHT, FOCAL, FOCAL, 160.0, 120.0)
    depth = np.random.default_rng(0).uniform(0.5, 8.0, (HEIGHT, WIDTH)).astype(np.float32)
    depth[3, 4] = np.nan
    points = points_from_depth(depth, camera.rays())
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points[..., 2], depth)
    assert np.isnan(points[3, 4]).all()
    np.testing.assert_allclose(points[20, 200], depth[20, 200] * np.array([40, -100, FOCAL]) / FOCAL, rtol=1e-6)


def test_points_refuse_depth_of_another_size():
    rays = CameraModel.pinhole(WIDTH, HEIGHT, FOCAL, FOCAL, 160.0, 120.0).rays()
    with pytest.raises(BadInput, match="depth is 100x50 but the camera's rays are 320x240"):
        points_from_depth(np.ones((50, 100), np.float32), rays)


def test_valid_depth_is_finite_positive_and_in_range():
    depth = np.array([[np.nan, -1.0, 0.0, 0.5, 1.0, 2.0, 2.5, np.inf]], np.float32)
    assert (valid_depth(depth) > 0).tolist() == [[False, False, False, True, True, True, True, False]]
    assert (valid_depth(depth, 1.0, 2.0) > 0).tolist() == [[False] * 4 + [True, True, False, False]]


@pytest.mark.parametrize("angle", [0, 45, 90, 130])
@pytest.mark.parametrize("width", [1, 2, 4, 6, 8, 10])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_ramp_between_object_and_wall_goes_and_both_surfaces_stay(shape, width, angle):
    columns, rows = np.meshgrid(np.arange(WIDTH) - 160.0, np.arange(HEIGHT) - 120.0)
    across = columns * np.cos(np.radians(angle)) + rows * np.sin(np.radians(angle))
    depth = SHAPES[shape](1.5, 3.0, np.clip(across / (width + 1), 0, 1)).astype(np.float32)
    edges = depth_edges(depth, 0.05)
    in_the_air = (depth > 1.5 * 1.04) & (depth < 3.0 / 1.04)
    assert in_the_air.any()
    assert edges[in_the_air].all()
    surfaces = (across < -1.5) | (across > width + 2.5)
    assert not edges[surfaces].any()


def test_a_clean_step_loses_one_pixel_on_each_side():
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth[:, 100:] = 4.0
    np.testing.assert_array_equal(np.flatnonzero(depth_edges(depth, 0.1)[7]), [99, 100])


def test_the_threshold_is_the_relative_jump():
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth[:, 100:] = 2.2
    assert depth_edges(depth, 0.09).any()
    assert not depth_edges(depth, 0.11).any()


@pytest.mark.parametrize(("camera_height", "pitch"), [(0.15, 0.0), (0.3, 0.0), (0.3, 0.05), (1.0, 0.0)])
def test_a_floor_seen_at_a_grazing_angle_stays(camera_height, pitch):
    depth = floor_depth(camera_height, farthest=10.0, pitch=pitch)
    filled = np.nan_to_num(depth, nan=10.0)
    ratio = cv2.dilate(filled, np.ones((3, 3))) / cv2.erode(filled, np.ones((3, 3)))
    assert (ratio[:, 0] > 1.02).sum() > 25  # rows that a test of the ratio alone would cut
    farthest_row = np.flatnonzero(np.isfinite(depth[:, 0]))[0]
    edges = depth_edges(depth, 0.02)
    assert not edges[farthest_row + 9 :].any()  # the last rows before the range ends may go


@pytest.mark.parametrize("transpose", [False, True], ids=["floor", "side wall"])
def test_a_surface_that_runs_into_a_wall_stays(transpose):
    depth = np.fmin(floor_depth(0.3, farthest=100.0), np.float32(4.0))
    depth = np.nan_to_num(depth, nan=4.0)
    edges = depth_edges(depth.T.copy() if transpose else depth, 0.06)
    assert not edges.any()


def test_a_plane_tilted_every_way_stays():
    camera = CameraModel.pinhole(WIDTH, HEIGHT, FOCAL, FOCAL, 160.0, 120.0)
    normal = np.array([0.80, 0.58, 0.15])
    depth = (0.5 / (camera.rays().astype(np.float64) @ normal)).astype(np.float32)
    depth[(depth <= 0) | (depth > 20)] = np.nan
    rim = cv2.erode(np.isfinite(depth).astype(np.uint8), np.ones((19, 19))) == 0
    assert (~rim).mean() > 0.3
    assert not (depth_edges(depth, 0.02) & ~rim).any()


def test_the_middle_of_a_thin_pole_stays():
    depth = np.full((HEIGHT, WIDTH), 5.0, np.float32)
    depth[:, 100:106] = 1.0
    edges = depth_edges(depth, 0.05)
    assert not edges[:, 101:105].any()
    assert edges[:, [99, 100, 105, 106]].all()


def test_a_ramp_that_rises_into_no_reading_goes():
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth[:, 100:106] = 2.0 + 1.3 * np.arange(1, 7)  # object against sky: past 10 m the head's range ends
    depth[:, 106:] = np.nan
    edges = depth_edges(depth, 0.05)
    assert edges[:, 100:106].all()
    assert not edges[:, :99].any()


def test_no_reading_is_never_an_edge_and_makes_none():
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    holes = np.random.default_rng(4).random(depth.shape) < 0.2
    depth[holes] = np.random.default_rng(5).choice([np.nan, 0.0, -1.0, np.inf], holes.sum())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not depth_edges(depth, 0.01).any()
        assert not depth_edges(np.full_like(depth, np.nan), 0.01).any()
    depth[:, 150:] *= 2  # a jump with holes on both sides
    edges = depth_edges(depth, 0.01)
    assert edges.any()
    assert not edges[holes].any()


def test_an_image_smaller_than_the_window_works():
    depth = np.array([[1.0, 1.0, 3.0]], np.float32)
    assert depth_edges(depth, 0.1).tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("pattern", "scale"),
    [("rgbd_sun3d_cubicles_1/depth/*939*", 1000), ("rgbd_tum_fr2_desk_slambook/depth/1_*", 5000)],
)
def test_real_depth_upsampled_as_a_head_does_loses_its_flying_points(shared_real, pattern, scale):
    paths = sorted(shared_real.glob(pattern))
    assert paths
    depth = cv2.imread(str(paths[0]), cv2.IMREAD_UNCHANGED).astype(np.float32) / scale
    size = depth.shape[::-1]
    coarse = without_holes(cv2.resize(depth, (size[0] // 4, size[1] // 4), interpolation=cv2.INTER_NEAREST))
    blocks = cv2.resize(coarse, size, interpolation=cv2.INTER_NEAREST)
    smooth = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
    nearest, farthest = cv2.erode(blocks, np.ones((9, 9))), cv2.dilate(blocks, np.ones((9, 9)))
    jump = farthest > 1.3 * nearest
    flying = jump & (smooth > 1.1 * nearest) & (smooth < farthest / 1.1)
    edges = depth_edges(smooth, 0.05)
    assert flying.sum() > 1000
    assert edges[flying].mean() > 0.95
    assert edges[~jump].mean() < 0.03


def without_holes(depth):
    """Fills pixels without reading from the nearest one that has it."""
    missing = (depth == 0).astype(np.uint8)
    if not missing.any():
        return depth
    _, labels = cv2.distanceTransformWithLabels(missing, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    values = np.zeros(labels.max() + 1, np.float32)
    values[labels[missing == 0]] = depth[missing == 0]
    return values[labels]


def jumps_and_holes(height, width, seed):
    """Smooth depth with a jump and pixels without reading of every kind."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(1.0, 6.0, (6, 5)).astype(np.float32)
    depth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    depth[:, width // 3 :] += 2
    holes = generator.random(depth.shape) < 0.03
    depth[holes] = generator.choice([np.nan, np.inf, 0.0, -1.0], holes.sum())
    return depth


@pytest.mark.parametrize("height", [5, 40, 64, 100, 101])
def test_bands_find_the_edges_of_the_whole_image(height, monkeypatch):
    depth = jumps_and_holes(height, 90, height)
    whole = EdgeFinder(height, 90, 0.05)(depth).copy()
    monkeypatch.setattr(geometry, "_PIXELS_AT_ONCE", 1)  # the smallest bands there are
    np.testing.assert_array_equal(EdgeFinder(height, 90, 0.05)(depth), whole)
    assert whole.any()


def test_an_edge_finder_keeps_nothing_of_the_image_before():
    finder = EdgeFinder(60, 80, 0.05)
    for seed in range(3):
        for depth in (jumps_and_holes(60, 80, seed), np.full((60, 80), 2.0, np.float32)):
            np.testing.assert_array_equal(finder(depth), depth_edges(depth, 0.05))
