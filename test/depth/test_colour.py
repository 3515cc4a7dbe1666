"""Depth pictures: warm is near, black is no reading, and no image breaks them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from clip_depth_ros.depth.colour import colourise, depth_range
from clip_depth_ros.errors import BadInput

BLACK = [0, 0, 0]


def ramp(nearest=1.0, farthest=5.0):
    return np.linspace(nearest, farthest, 64 * 48, dtype=np.float32).reshape(48, 64)


def test_near_is_warm_and_far_is_cold():
    picture = colourise(ramp(), 1.0, 5.0)
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.uint8
    red, _, blue = picture[5, 0].astype(int)
    assert red > blue + 100
    red, _, blue = picture[-5, -1].astype(int)
    assert blue > red + 40


def test_no_reading_is_black_and_nothing_else_is():
    depth = ramp()
    depth[0, :5] = [np.nan, np.inf, -np.inf, 0.0, -2.0]
    picture = colourise(depth)
    assert picture[0, :5].tolist() == [BLACK] * 5
    assert (picture.reshape(-1, 3).max(axis=1) > 0).sum() == depth.size - 5


def test_depth_beyond_the_range_takes_the_colour_of_its_end():
    picture = colourise(np.array([[0.1, 1.0, 5.0, 80.0]], np.float32), 1.0, 5.0)
    np.testing.assert_array_equal(picture[0, 0], picture[0, 1])
    np.testing.assert_array_equal(picture[0, 2], picture[0, 3])
    assert picture[0, 1].tolist() != picture[0, 2].tolist()


def test_by_default_an_outlier_does_not_take_the_colours_from_the_rest():
    depth = ramp()
    depth[0, 0] = 1000.0
    nearest, farthest = depth_range(depth)
    assert 1.0 <= nearest < 1.2
    assert 4.8 < farthest <= 5.0
    picture = colourise(depth).reshape(-1, 3)
    assert len(np.unique(picture, axis=0)) > 200


def test_the_range_of_a_large_image_is_that_of_all_of_its_readings():
    depth = np.random.default_rng(0).gamma(3.0, 1.0, (480, 640)).astype(np.float32)
    depth[:100] = np.nan
    np.testing.assert_allclose(depth_range(depth), np.nanpercentile(depth, [2, 98]), rtol=0.05)


def test_the_range_is_found_even_where_few_pixels_have_a_reading():
    depth = np.full((480, 640), np.nan, np.float32)
    depth[1, 1] = 3.0
    assert depth_range(depth) == (3.0, 3.0)
    assert colourise(depth)[1, 1].any()


@pytest.mark.parametrize("value", [np.nan, 0.0, 2.0])
def test_a_flat_or_empty_image_divides_by_nothing(value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = colourise(np.full((48, 64), value, np.float32))
        same = colourise(np.full((48, 64), value, np.float32), 2.0, 2.0)
    assert picture.any() == same.any() == (value == 2.0)


def test_one_end_of_the_range_may_be_given_alone():
    assert colourise(ramp(), minimum=9.0).any()
    assert colourise(ramp(), maximum=0.5).any()


def test_a_range_the_wrong_way_round_is_refused():
    with pytest.raises(BadInput, match=r"starts at 5\.0 m but ends at 1\.0 m"):
        colourise(ramp(), 5.0, 1.0)


def test_colours_are_written_where_asked():
    depth = ramp()
    depth[0, :5] = np.nan
    out = np.full((*depth.shape, 3), 7, np.uint8)
    assert colourise(depth, 1.0, 5.0, out=out) is out
    np.testing.assert_array_equal(out, colourise(depth, 1.0, 5.0))
    assert not out[0, :5].any()
