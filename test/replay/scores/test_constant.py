from __future__ import annotations

import numpy as np
import pytest
import torch

from clip_depth_ros.depth.metrics import average, depth_metrics, valid_pixels
from clip_depth_ros.replay.scores import Scores

LIMITS = (0.5, 10.0)


def _constant(truths, predictions=None):
    scores = Scores(LIMITS)
    for number, truth in enumerate(truths):
        prediction = np.ones_like(truth) if predictions is None else predictions[number]
        scores.add(number / 10, prediction, truth, np.zeros((*truth.shape, 3), np.uint8))
    return scores.accuracy()["constant"]


def _expected(truths, depth, scaled):
    parts = []
    for truth in truths:
        target = torch.from_numpy(truth)[None]
        flat = torch.full_like(target, depth, dtype=torch.float64)
        parts.append(depth_metrics(flat, target, valid_pixels(target, LIMITS), LIMITS, median=scaled))
    return average(parts)


def test_its_metrics_are_exactly_those_of_that_depth(frames):
    truths = [truth for _, truth, _ in frames]
    found = _constant(truths)
    assert found["metric"] == pytest.approx(_expected(truths, found["depth_m"], False), rel=1e-9)
    assert found["median_scaled"] == pytest.approx(_expected(truths, found["depth_m"], True), rel=1e-6)


def test_depth_in_whole_millimetres_as_sensors_give_it():
    rng = np.random.default_rng(4)
    truths = [(rng.integers(1200, 1800, (40, 40)) / 1000).astype(np.float32) for _ in range(3)]
    found = _constant(truths)
    assert found["metric"] == pytest.approx(_expected(truths, found["depth_m"], False), rel=1e-9)
    assert found["depth_m"] == pytest.approx(np.median(truths), rel=0.0009)


def test_it_is_the_median_with_every_image_counting_the_same():
    rng = np.random.default_rng(5)
    near, far = (rng.uniform(low, low + 1, (30, 30)).astype(np.float32) for low in (1.0, 4.0))
    far[1:] = np.nan  # few pixels
    truths = [near, far, far + np.float32(0.2)]
    weights = np.concatenate([np.full(one[np.isfinite(one)].shape, 1 / np.isfinite(one).sum()) for one in truths])
    values = np.concatenate([one[np.isfinite(one)] for one in truths])
    order = np.argsort(values)
    median = values[order][np.searchsorted(np.cumsum(weights[order]), 1.5)]
    assert _constant(truths)["depth_m"] == pytest.approx(median, rel=0.0009)
    assert median > 4  # the pixels alone have theirs near 1.5 m


@pytest.mark.parametrize("depth", [0.5001, 1.0, 2.0, 9.9999])
def test_a_flat_wall(depth):
    found = _constant([np.full((5, 5), depth, np.float32)])
    assert found["depth_m"] == pytest.approx(depth, rel=0.00045)
    assert LIMITS[0] <= found["depth_m"] <= LIMITS[1]
    assert found["metric"]["abs_rel"] == pytest.approx(abs(found["depth_m"] / float(np.float32(depth)) - 1), abs=1e-9)
    assert found["metric"]["a1"] == 1.0
    assert found["metric"]["silog"] == pytest.approx(0, abs=1e-9)
    assert found["median_scaled"]["abs_rel"] == pytest.approx(0, abs=1e-9)


def test_it_does_not_depend_on_the_prediction(frames):
    truths = [truth for _, truth, _ in frames]
    holes = [np.where(truth > 4, np.nan, truth).astype(np.float32) for truth in truths]
    assert _constant(truths) == _constant(truths, holes)
