"""Readings and their 16-bit form."""

from __future__ import annotations

import numpy as np

from clip_depth_ros.depth.masking import millimetres, readings


def test_outside_the_range_is_no_reading_and_nothing_is_clipped() -> None:
    depth = np.array([[0.0, 0.05, 0.1, 5.0, 10.0, 10.1, np.inf, np.nan]], np.float32)
    kept = readings(depth, (0.1, 10.0))
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept, [[np.nan, np.nan, np.float32(0.1), 5, 10, np.nan, np.nan, np.nan]])


def test_millimetres_are_rounded_and_zero_means_none() -> None:
    depth = np.array([np.nan, 0.0, 0.0004, 0.001, 1.2345, 1.2346, 65.535, 65.536, np.inf, -1.0], np.float32)
    np.testing.assert_array_equal(millimetres(depth), [0, 0, 0, 1, 1234, 1235, 65535, 0, 0, 0])
    assert millimetres(depth).dtype == np.uint16


def test_readings_are_written_where_asked_and_the_input_stays() -> None:
    depth = np.random.default_rng(0).uniform(0, 12, (2, 5, 7)).astype(np.float32)
    before = depth.copy()
    out = np.full_like(depth, 3)
    assert readings(depth, (1.0, 9.0), out) is out
    np.testing.assert_array_equal(out, np.where((depth >= 1) & (depth <= 9), depth, np.nan))
    # All of it in range: nothing is left of what was there.
    assert readings(depth, (0.0, 20.0), out) is out
    np.testing.assert_array_equal(out, depth)
    np.testing.assert_array_equal(depth, before)


def test_millimetres_are_written_where_asked() -> None:
    depth = np.array([[1.5, np.nan], [70.0, 0.002]], np.float32)
    out = np.full((2, 2), 9, np.uint16)
    assert millimetres(depth, out) is out
    np.testing.assert_array_equal(out, [[1500, 0], [0, 2]])
