from __future__ import annotations

import math

import numpy as np
import pytest

from clip_depth_ros.replay.scores import Scores
from clip_depth_ros.replay.scores.scale import drift_per_minute, scale_summary


def _scores(times, scales):
    truth, rgb = np.full((2, 2), 2.0, np.float32), np.zeros((2, 2, 3), np.uint8)
    scores = Scores((0.1, 100.0))
    for time, scale in zip(times, scales):
        scores.add(time, np.float32(scale) * truth, truth, rgb)
    return scores


def test_spread_and_drift_of_a_recording():
    times = np.arange(0, 30, 0.5)
    scales = 1.2 * np.exp(0.1 * times / 60)
    found = _scores(times, scales).accuracy()["scale"]
    assert found["median"] == pytest.approx(np.median(scales), rel=1e-6)
    assert found["p10"] == pytest.approx(np.percentile(scales, 10), rel=1e-6)
    assert found["p90"] == pytest.approx(np.percentile(scales, 90), rel=1e-6)
    assert found["drift_per_minute"] == pytest.approx(math.expm1(0.1), rel=1e-4)


def test_the_drift_is_theil_and_sens():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(8)
    times = np.sort(rng.uniform(0, 40, 200))
    scales = np.exp(0.002 * times + rng.normal(0, 0.05, 200))
    scales[::5] *= 6  # one frame in five is quite wrong
    slope = stats.theilslopes(np.log(scales), times).slope
    assert drift_per_minute(times, scales) == pytest.approx(math.expm1(60 * slope), rel=1e-9)
    assert abs(slope - 0.002) < 0.001


def test_long_recordings_are_grouped():
    rng = np.random.default_rng(9)
    times = np.arange(20_000) / 30
    scales = np.exp(-0.0005 * times + rng.normal(0, 0.1, len(times)))
    assert drift_per_minute(times, scales) == pytest.approx(math.expm1(-0.03), rel=0.1)


def test_frames_without_scale_are_left_out():
    times = np.arange(10.0)
    scales = 1 + 0.01 * times
    holes = scales.copy()
    holes[[2, 5]] = math.nan
    whole, partly = (drift_per_minute(times, one) for one in (scales, holes))
    assert partly == pytest.approx(whole, rel=0.05)
    assert scale_summary(times, holes)["median"] == pytest.approx(np.nanmedian(holes))


@pytest.mark.parametrize("times", [[0.0], [0.0, 5.0], [0.0, 0.5, 1.5], [3.0, 3.0, 3.0]])
def test_too_short_for_a_drift(times):
    assert drift_per_minute(np.array(times), np.ones(len(times))) is None


def test_nothing_known():
    found = scale_summary(np.arange(4.0), np.full(4, math.nan))
    assert found == {"median": None, "p10": None, "p90": None, "drift_per_minute": None}
