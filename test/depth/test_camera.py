"""Camera models: rays against OpenCV's own projection on real and synthetic cameras, and what is refused."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import yaml

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.depth.geometry import points_from_depth
from clip_depth_ros.errors import BadInput

ZERO = np.zeros(3)


def matrix(fx, fy, cx, cy):
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)


# The calibration that the real SVO recording carries in its camera_info.
SVO = CameraModel(
    752,
    480,
    matrix(414.53614481, 414.28442935, 348.80498845, 240.07645108),
    "plumb_bob",
    np.array([-0.28307631, 0.0666741, 0.00089588, 0.00077826, 0.0]),
    projection=np.hstack([matrix(301.91146851, 368.44802856, 340.26566226, 240.19719692), np.zeros((3, 1))]),
)
RATIONAL = CameraModel(
    640,
    360,
    matrix(303.6, 303.5, 320.6, 182.9),
    "rational_polynomial",
    np.array([0.5286, -2.62, 0.00086, -0.00012, 1.5186, 0.4047, -2.445, 1.4465]),
)
# Thin prism and tilt as well.
RATIONAL_14 = dataclasses.replace(
    RATIONAL, distortion=np.r_[RATIONAL.distortion, 0.0011, -0.0004, 0.0007, 0.0002, 0.01, -0.02]
)
FISHEYES = ("frontCamera", "leftCamera", "rightCamera", "rearCamera")


@pytest.fixture(scope="module")
def fisheyes(shared_real):
    document = yaml.safe_load((shared_real / "cam_surround_fisheye_yaml" / "camerasParam.yaml").read_text())
    cameras = {}
    for name in FISHEYES:
        values = document[name]["ros__parameters"]
        cameras[name] = CameraModel(
            values["image_width"],
            values["image_height"],
            np.reshape(values["intrinsic_matrix"], (3, 3)),
            "equidistant",
            np.array(values["distortion_coefficients"]),
        )
    return cameras


def reprojection_error(camera):
    """A cloud at random depths, projected by OpenCV: (H, W) pixels off, NaN where there is no point."""
    depth = np.random.default_rng(7).uniform(0.2, 10.0, (camera.height, camera.width)).astype(np.float32)
    points = points_from_depth(depth, camera.rays())
    seen = np.isfinite(points).all(axis=2)
    assert np.isnan(points[~seen]).all()
    project = cv2.fisheye.projectPoints if camera.distortion_model == "equidistant" else cv2.projectPoints
    distortion = camera.distortion if camera.distortion.size else None
    space = points[seen].astype(np.float64)[:, None]
    pixels, _ = project(space, ZERO, ZERO, camera.intrinsics, distortion)
    error = np.full(depth.shape, np.nan)
    rows, columns = np.nonzero(seen)
    error[seen] = np.abs(pixels[:, 0] - np.column_stack([columns, rows])).max(axis=1)
    return error


@pytest.mark.parametrize("camera", [SVO, RATIONAL, RATIONAL_14], ids=["plumb_bob", "rational_8", "rational_14"])
def test_every_pixel_of_a_brown_camera_has_a_point_that_projects_back_to_it(camera):
    error = reprojection_error(camera)
    assert np.isfinite(error).all()
    assert error.max() < 0.05


@pytest.mark.parametrize("name", FISHEYES)
def test_points_of_a_real_fisheye_camera_project_back_and_end_at_90_degrees(fisheyes, name):
    camera = fisheyes[name]
    error = reprojection_error(camera)
    assert np.nanmax(error) < 0.05
    k1, k2, k3, k4 = camera.distortion
    theta = np.pi / 2
    edge = theta * (1 + k1 * theta**2 + k2 * theta**4 + k3 * theta**6 + k4 * theta**8)
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    k = camera.intrinsics
    beyond = np.hypot((columns - k[0, 2]) / k[0, 0], (rows - k[1, 2]) / k[1, 1]) >= edge
    np.testing.assert_array_equal(np.isnan(error), beyond)
    assert beyond.any() == (name == "frontCamera")  # the front camera reaches 92.3 degrees
    assert beyond.mean() < 0.001


def test_a_pinhole_camera_sees_right_down_and_forward():
    rays = CameraModel.pinhole(8, 6, 4.0, 5.0, 3.0, 2.0).rays()
    np.testing.assert_allclose(rays[2, 3], [0, 0, 1])
    np.testing.assert_allclose(rays[4, 7], [1.0, 0.4, 1.0])
    assert rays.dtype == np.float32
    assert rays.shape == (6, 8, 3)


def test_pixels_beyond_a_lens_that_folds_have_no_ray():
    camera = CameraModel(752, 480, matrix(300, 300, 375.5, 239.5), "plumb_bob", np.array([-0.4, 0.2, 0, 0, -0.05]))
    error = reprojection_error(camera)
    seen = np.isfinite(error)
    assert np.nanmax(error) < 0.05
    radius = np.linspace(0, 1.36, 100_000)
    farthest = (radius * (1 - 0.4 * radius**2 + 0.2 * radius**4 - 0.05 * radius**6)).max()
    columns, rows = np.meshgrid(np.arange(752), np.arange(480))
    off_axis = np.hypot(columns - 375.5, rows - 239.5) / 300
    assert not seen[off_axis > farthest + 0.1 / 300].any()  # a tenth of a pixel
    assert seen[off_axis < 0.99 * farthest].all()


def test_skew_is_honoured():
    k = matrix(400, 410, 100, 80)
    k[0, 1] = 3.0
    camera = CameraModel(200, 160, k)
    point = points_from_depth(np.full((160, 200), 2.0, np.float32), camera.rays())[30, 50]
    pixel = k @ point
    np.testing.assert_allclose(pixel[:2] / pixel[2], [50, 30], atol=1e-3)


def test_rays_are_computed_once_and_cannot_be_changed():
    rays = SVO.rays()
    assert SVO.rays() is rays
    with pytest.raises(ValueError, match="read-only"):
        rays[0, 0, 0] = 0


@pytest.mark.parametrize("camera", [SVO, RATIONAL_14], ids=["plumb_bob", "rational_14"])
def test_project_agrees_with_opencv(camera):
    points = np.random.default_rng(2).uniform([-1, -1, 2], [1, 1, 5], (500, 3))
    expected, _ = cv2.projectPoints(points, ZERO, ZERO, camera.intrinsics, camera.distortion)
    np.testing.assert_allclose(camera.project(points), expected[:, 0], atol=1e-9)


def test_project_gives_nan_behind_the_camera_and_takes_no_points():
    pixels = SVO.project(np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    assert np.isnan(pixels[:2]).all()
    np.testing.assert_allclose(pixels[2], SVO.intrinsics[:2, 2])
    assert SVO.project(np.zeros((0, 3))).shape == (0, 2)


def test_scaled_moves_every_point_by_the_ratio_of_sizes():
    stereo = dataclasses.replace(SVO, projection=SVO.projection + np.array([[0, 0, 0, -33.0], [0] * 4, [0] * 4]))
    half = stereo.scaled(376, 160)
    points = np.random.default_rng(3).uniform([-1, -1, 2], [1, 1, 5], (50, 3))
    np.testing.assert_allclose(half.project(points), stereo.project(points) * [1 / 2, 1 / 3])
    assert (half.width, half.height) == (376, 160)
    np.testing.assert_allclose(half.projection[0, 3], -16.5)
    np.testing.assert_allclose(half.projection[2], [0, 0, 1, 0])


def test_rectify_maps_are_those_of_opencv():
    turned, _ = cv2.Rodrigues(np.array([0.01, -0.02, 0.005]))
    camera = dataclasses.replace(SVO, rectification=turned)
    columns, rows = camera.rectify_maps()
    p = camera.projection[:, :3]
    expected = cv2.initUndistortRectifyMap(camera.intrinsics, camera.distortion, turned, p, (752, 480), cv2.CV_32FC1)
    np.testing.assert_allclose(columns, expected[0], atol=1e-3)
    np.testing.assert_allclose(rows, expected[1], atol=1e-3)
    assert columns.dtype == rows.dtype == np.float32


def test_rectify_maps_of_a_fisheye_camera_are_those_of_opencv(fisheyes):
    camera = fisheyes["frontCamera"]
    k, d, p = camera.intrinsics, camera.distortion, matrix(300, 300, 960, 540)
    camera = dataclasses.replace(camera, projection=np.hstack([p, np.zeros((3, 1))]))
    expected = cv2.fisheye.initUndistortRectifyMap(k, d, np.eye(3), p, (1920, 1080), cv2.CV_32FC1)
    for ours, theirs in zip(camera.rectify_maps(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_rectify_maps_point_outside_where_the_camera_cannot_see():
    narrow = matrix(100, 100, 376, 240)
    folding = CameraModel(
        752,
        480,
        matrix(300, 300, 375.5, 239.5),
        "plumb_bob",
        np.array([-0.4, 0.2, 0, 0, -0.05]),
        projection=np.hstack([narrow, np.zeros((3, 1))]),
    )
    columns, rows = folding.rectify_maps()
    assert columns[0, 0] == rows[0, 0] == -1
    assert np.isfinite(columns).all()
    assert cv2.remap(np.full((480, 752), 255, np.uint8), columns, rows, cv2.INTER_LINEAR)[0, 0] == 0


def test_rectified_is_the_pinhole_of_p():
    camera = SVO.rectified()
    assert camera.distortion.size == 0
    np.testing.assert_array_equal(camera.intrinsics, SVO.projection[:, :3])
    np.testing.assert_array_equal(camera.projection, SVO.projection)
    assert reprojection_error(camera).max() < 0.001


def test_projection_defaults_to_the_intrinsics():
    for missing in (None, np.zeros((3, 4))):
        camera = CameraModel(10, 8, matrix(5, 6, 4, 3), projection=missing)
        np.testing.assert_array_equal(camera.projection, np.hstack([matrix(5, 6, 4, 3), np.zeros((3, 1))]))


def test_fisheye_is_a_synonym_of_equidistant():
    assert CameraModel(10, 8, matrix(5, 6, 4, 3), "fisheye", np.zeros(4)).distortion_model == "equidistant"


def test_models_with_equal_numbers_are_equal():
    same = dataclasses.replace(SVO)
    other = dataclasses.replace(SVO, distortion=SVO.distortion * 1.0001)
    assert same == SVO
    assert hash(same) == hash(SVO)
    assert other != SVO


def test_the_caller_keeps_arrays_of_its_own():
    k = matrix(5, 6, 4, 3)
    camera = CameraModel(10, 8, k)
    k[0, 0] = 99
    assert camera.intrinsics[0, 0] == 5


def test_an_uncalibrated_camera_is_no_error_until_its_geometry_is_needed():
    camera = CameraModel(640, 480, np.zeros((3, 3)))
    assert not camera.is_calibrated
    assert SVO.is_calibrated
    for use in (camera.rays, camera.rectify_maps, camera.rectified, lambda: camera.project(np.ones((1, 3)))):
        with pytest.raises(BadInput, match=r"K\[0\] is 0"):
            use()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intrinsics": np.full((3, 3), np.nan)}, "intrinsics K holds NaN"),
        ({"distortion": np.array([0.1, np.inf, 0, 0])}, "distortion D holds NaN or infinity"),
        ({"projection": np.full((3, 4), np.nan)}, "projection P holds NaN"),
        ({"intrinsics": np.eye(4)}, "intrinsics K is not"),
        ({"intrinsics": matrix(-400, 400, 100, 100)}, "positive focal lengths"),
        ({"intrinsics": matrix(400, 0, 100, 100)}, "positive focal lengths"),
        ({"rectification": np.zeros((3, 3))}, "R is no rotation"),
        ({"distortion": np.zeros(3)}, "3 coefficients"),
        ({"distortion_model": "mei"}, "unknown distortion model 'mei'"),
        ({"width": 0}, "0x480"),
    ],
)
def test_numbers_that_no_camera_has_are_refused(changes, message):
    with pytest.raises(BadInput, match=message):
        dataclasses.replace(SVO, **changes)


def calibration_document():
    def entry(values, rows, columns):
        return {"rows": rows, "cols": columns, "data": [float(value) for value in np.ravel(values)]}

    return {
        "image_width": 752,
        "image_height": 480,
        "camera_name": "svo",
        "camera_matrix": entry(SVO.intrinsics, 3, 3),
        "distortion_model": "plumb_bob",
        "distortion_coefficients": entry(SVO.distortion, 1, 5),
        "rectification_matrix": entry(np.eye(3), 3, 3),
        "projection_matrix": entry(SVO.projection, 3, 4),
    }


def test_camera_info_managers_file_is_read(tmp_path):
    path = tmp_path / "svo.yaml"
    path.write_text(yaml.safe_dump(calibration_document()))
    assert CameraModel.from_yaml(path) == SVO


@pytest.mark.parametrize(("rows", "columns"), [(5, 1), (1, 5)])
def test_distortion_may_be_a_row_or_a_column(tmp_path, rows, columns):
    path = tmp_path / "svo.yaml"
    coefficients = {"rows": rows, "cols": columns, "data": SVO.distortion.tolist()}
    path.write_text(yaml.safe_dump({**calibration_document(), "distortion_coefficients": coefficients}))
    assert CameraModel.from_yaml(path) == SVO


@pytest.mark.parametrize("key", sorted(set(calibration_document()) - {"camera_name"}))
def test_a_missing_key_is_named_with_its_file(tmp_path, key):
    path = tmp_path / "svo.yaml"
    document = calibration_document()
    del document[key]
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(BadInput, match=rf"svo\.yaml.*'{key}' is missing"):
        CameraModel.from_yaml(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_width", "wide"),
        ("image_height", -480),
        ("image_height", True),
        ("distortion_model", 5),
        ("camera_matrix", [1, 2, 3]),
        ("camera_matrix", {"rows": 3, "cols": 3, "data": [1.0] * 8}),
        ("camera_matrix", {"rows": 3, "cols": 3, "data": ["x"] * 9}),
        ("camera_matrix", {"rows": 3, "cols": 3, "data": [float("nan")] * 9}),
        ("projection_matrix", {"rows": 3, "cols": 3, "data": [1.0] * 9}),
        ("distortion_coefficients", {"rows": 1, "cols": 5, "data": [0.0] * 4}),
        ("rectification_matrix", {"rows": 3, "data": [1.0] * 9}),
    ],
)
def test_a_bad_value_is_named_with_its_file(tmp_path, key, value):
    path = tmp_path / "svo.yaml"
    path.write_text(yaml.safe_dump({**calibration_document(), key: value}))
    with pytest.raises(BadInput, match=rf"svo\.yaml.*'{key}'"):
        CameraModel.from_yaml(path)


@pytest.mark.parametrize("content", ["%YAML:1.0\n---\n{", "- 1\n- 2\n", "", "\x00\x01"])
def test_a_file_that_is_no_calibration_is_refused(tmp_path, content):
    path = tmp_path / "svo.yaml"
    path.write_text(content)
    with pytest.raises(BadInput, match=r"svo\.yaml"):
        CameraModel.from_yaml(path)
    with pytest.raises(BadInput, match="No such file"):
        CameraModel.from_yaml(tmp_path / "none.yaml")
