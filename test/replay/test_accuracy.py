from __future__ import annotations

import numpy as np
import pytest
from recordings import PERIOD_NS, START_NS, image, write_bag

from clip_depth_ros.replay.accuracy import compare, matched
from clip_depth_ros.replay.messages import header_stamp_ns
from clip_depth_ros.replay.reader import BagReader

LIMITS = (0.1, 10.0)


def _bag(path, topic, depths, encoding="32FC1", first=0):
    messages = []
    for index, depth in enumerate(depths, first):
        stamp = START_NS + index * PERIOD_NS
        messages.append((topic, stamp, image(stamp, depth, encoding)))
    return BagReader(write_bag(path, messages))


def test_a_wrong_scale_shows_in_metric_and_not_in_scaled(tmp_path):
    rng = np.random.default_rng(5)
    truths = [rng.uniform(1.0, 4.0, (12, 16)).astype(np.float32) for _ in range(3)]
    with (
        _bag(tmp_path / "a", "/depth", [1.5 * one for one in truths]) as results,
        _bag(tmp_path / "b", "/truth", truths) as recording,
    ):
        found = compare(results, "/depth", recording, "/truth", LIMITS)
    assert found.images == 3
    assert found.metric["abs_rel"] == pytest.approx(0.5, abs=1e-6)
    assert found.metric["a1"] == 0.0
    assert found.metric["a2"] == 1.0
    assert found.scaled["abs_rel"] == pytest.approx(0.0, abs=1e-6)
    assert found.scaled["a1"] == 1.0
    assert found.coverage == 1.0


def test_the_constant_is_the_median_of_the_truth(tmp_path):
    truth = np.array([[1.0, 2.0, 3.0, 4.0, 0.0, 90.0]], np.float32)  # no reading, and beyond the limits
    with (
        _bag(tmp_path / "a", "/depth", [np.full((1, 6), 2.0, np.float32)]) as results,
        _bag(tmp_path / "b", "/truth", [truth]) as recording,
    ):
        found = compare(results, "/depth", recording, "/truth", LIMITS)
    assert found.constant_m == 2.5
    assert found.constant["abs_rel"] == pytest.approx(np.mean([1.5, 0.25, 0.5 / 3, 1.5 / 4]))
    assert found.metric["rmse"] == pytest.approx(np.sqrt((1 + 0 + 1 + 4) / 4))
    assert found.metric["abs_rel"] == pytest.approx(np.mean([1.0, 0.0, 1 / 3, 0.5]))


def test_values_are_the_mean_over_images_not_over_pixels(tmp_path):
    near, far = np.full((1, 4), np.nan, np.float32), np.full((1, 4), 2.0, np.float32)
    near[0, 0] = 1.0
    with (
        _bag(tmp_path / "a", "/depth", [np.full((1, 4), 2.0, np.float32)] * 2) as results,
        _bag(tmp_path / "b", "/truth", [near, far]) as recording,
    ):
        found = compare(results, "/depth", recording, "/truth", LIMITS)
    assert found.metric["abs_rel"] == pytest.approx((1.0 + 0.0) / 2)


def test_pixels_without_prediction_lower_the_coverage_only(tmp_path):
    truth = np.full((2, 2), 2.0, np.float32)
    predicted = np.array([[2.0, np.nan], [2.0, 2.0]], np.float32)
    with (
        _bag(tmp_path / "a", "/depth", [predicted]) as results,
        _bag(tmp_path / "b", "/truth", [(truth * 1000).astype(np.uint16)], "16UC1") as recording,
    ):
        found = compare(results, "/depth", recording, "/truth", LIMITS)
    assert found.coverage == 0.75
    assert found.metric["abs_rel"] == 0.0


def test_other_stamps_and_other_sizes_are_not_compared(tmp_path):
    depth = [np.ones((2, 2), np.float32)]
    with _bag(tmp_path / "a", "/depth", depth) as results:
        with _bag(tmp_path / "b", "/truth", depth, first=7) as recording:
            assert compare(results, "/depth", recording, "/truth", LIMITS) is None
        with _bag(tmp_path / "c", "/truth", [np.ones((2, 3), np.float32)]) as recording:
            assert compare(results, "/depth", recording, "/truth", LIMITS) is None


def test_matching_by_stamp_with_drops_on_either_side(tmp_path):
    frames = [np.full((1, 1), 1.0 + index, np.float32) for index in range(6)]
    with (
        _bag(tmp_path / "a", "/depth", frames[2:], first=2) as left,
        _bag(tmp_path / "b", "/truth", frames[:5]) as right,
    ):
        pairs = list(matched(left.messages(), right.messages()))
        assert [header_stamp_ns(one.data) for one, _ in pairs] == [START_NS + index * PERIOD_NS for index in (2, 3, 4)]
        assert all(header_stamp_ns(one.data) == header_stamp_ns(two.data) for one, two in pairs)
        assert all((one.topic, two.topic) == ("/depth", "/truth") for one, two in pairs)
