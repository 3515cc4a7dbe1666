"""Lens models: the inverse is the inverse, and it ends where the model folds."""

from __future__ import annotations

import numpy as np
import pytest

from clip_depth_ros.depth.lens import LensModel
from clip_depth_ros.errors import BadInput

LENSES = {
    "plumb_bob": [-0.28308, 0.06667, 0.000896, 0.000778, 0.0],
    "rational_polynomial": [0.5286, -2.62, 0.00086, -0.00012, 1.5186, 0.4047, -2.445, 1.4465],
    "equidistant": [0.2423, 0.5059, -0.4873, 0.1775],
}


@pytest.mark.parametrize("name", LENSES)
def test_undistort_inverts_distort(name):
    lens = LensModel(name, np.array(LENSES[name]))
    plane = np.random.default_rng(1).uniform(-1.0, 1.0, (5000, 2))
    np.testing.assert_allclose(lens.undistort(lens.distort(plane)), plane, atol=1e-9)


def test_equidistant_without_coefficients_beyond_theta_is_the_angle_itself():
    lens = LensModel("equidistant", np.zeros(4))
    angles = np.radians([0.0, 10.0, 45.0, 89.0])
    plane = np.column_stack([np.tan(angles), np.zeros(4)])
    np.testing.assert_allclose(lens.distort(plane)[:, 0], angles, atol=1e-12)
    np.testing.assert_allclose(lens.undistort(np.column_stack([angles, np.zeros(4)])), plane, rtol=1e-9)


def test_equidistant_has_no_plane_point_from_90_degrees():
    radii = np.column_stack([np.radians([89.9, 90.0, 92.3, 180.0]), np.zeros(4)])
    plane = LensModel("equidistant", np.zeros(4)).undistort(radii)
    assert np.isnan(plane[:, 0]).tolist() == [False, True, True, True]


def test_a_folding_equidistant_lens_ends_at_its_turning_point():
    lens = LensModel("equidistant", np.array([-0.2, 0.0, 0.0, 0.0]))  # theta - 0.2 theta^3 turns at sqrt(1 / 0.6)
    turn = np.sqrt(1 / 0.6)
    assert lens.limit == pytest.approx(turn)
    highest = turn - 0.2 * turn**3
    plane = lens.undistort(np.array([[highest * 0.999, 0.0], [highest * 1.001, 0.0]]))
    assert 0 < plane[0, 0] < np.tan(turn)
    assert np.isnan(plane[1]).all()
    assert np.isnan(lens.distort(np.array([[np.tan(turn + 0.01), 0.0]]))).all()


def test_a_folding_brown_lens_ends_at_its_turning_point():
    lens = LensModel("plumb_bob", np.array([-0.4, 0.0, 0.0, 0.0]))  # r - 0.4 r^3 turns at sqrt(1 / 1.2)
    assert lens.limit == pytest.approx(np.sqrt(1 / 1.2))
    folded = np.array([[1.2, 0.0]])
    assert np.isnan(lens.distort(folded)).all()
    inside = lens.undistort(lens.distort(np.array([[0.5, 0.2]])))
    np.testing.assert_allclose(inside, [[0.5, 0.2]], atol=1e-9)


def test_the_optical_axis_is_the_axis_for_every_model():
    for name, coefficients in LENSES.items():
        lens = LensModel(name, np.array(coefficients))
        np.testing.assert_allclose(lens.distort(np.zeros((1, 2))), 0, atol=1e-12)
        np.testing.assert_allclose(lens.undistort(np.zeros((1, 2))), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "count"),
    [("plumb_bob", 3), ("plumb_bob", 8), ("rational_polynomial", 5), ("equidistant", 5), ("", 1)],
)
def test_a_wrong_number_of_coefficients_is_refused(name, count):
    with pytest.raises(BadInput, match=f"D holds {count} coefficients"):
        LensModel(name, np.full(count, 0.01))


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match=r"'omni'.*plumb_bob, rational_polynomial, equidistant"):
        LensModel("omni", np.zeros(4))


@pytest.mark.parametrize(("name", "count"), [("plumb_bob", 5), ("rational_polynomial", 8)])
def test_zeros_distort_nothing_and_cost_nothing(name, count):
    lens = LensModel(name, np.zeros(count))
    points = np.random.default_rng(2).uniform(-2.0, 2.0, (100, 2))
    assert lens.distort(points) is points
    assert lens.undistort(points) is points
