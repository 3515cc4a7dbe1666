from __future__ import annotations

import numpy as np
import pytest

from clip_depth_ros.replay.scores import Scores

LIMITS = (0.5, 15.0)
BANDS = [(0, 1), (1, 2), (2, 4), (4, 8), (8, None)]


def _pairs(frames, scaled):
    """All compared pixels of all images: prediction, truth, row and column of the region."""
    found = []
    for prediction, truth, _ in frames:
        keep = (truth > LIMITS[0]) & (truth < LIMITS[1]) & np.isfinite(prediction)
        rows, columns = np.nonzero(keep)
        p, t = prediction[keep].astype(float), truth[keep].astype(float)
        if scaled:
            p = p * np.median(t) / np.median(p)
        height, width = truth.shape
        # A pixel belongs to the third of the picture that its upper left corner lies in.
        down = np.searchsorted([height // 3, 2 * height // 3], rows, side="right")
        across = np.searchsorted([width // 3, 2 * width // 3], columns, side="right")
        found.append(np.stack([np.clip(p, *LIMITS), t, down, across]))
    return np.hstack(found)


def _nine(p, t):
    log = np.log(p / t)
    ratio = np.maximum(p / t, t / p)
    return {
        "abs_rel": np.mean(np.abs(p - t) / t),
        "sq_rel": np.mean((p - t) ** 2 / t),
        "rmse": np.sqrt(np.mean((p - t) ** 2)),
        "rmse_log": np.sqrt(np.mean(log**2)),
        "log_10": np.mean(np.abs(log)) / np.log(10),
        "silog": 100 * np.std(log),
        **{f"a{k}": np.mean(ratio < 1.25**k) for k in (1, 2, 3)},
    }


@pytest.fixture
def accuracy(frames):
    scores = Scores(LIMITS)
    for number, (prediction, truth, rgb) in enumerate(frames):
        # Images of different numbers of pixels: a mean over images would be another number.
        scores.add(number / 10, prediction, truth if number else np.where(truth > 3, truth, np.nan), rgb)
    return scores.accuracy()


@pytest.fixture
def used(frames):
    (prediction, truth, rgb), *others = frames
    return [(prediction, np.where(truth > 3, truth, np.nan), rgb), *others]


@pytest.mark.parametrize(("key", "scaled"), [("metric", False), ("median_scaled", True)])
def test_bands_are_pooled_over_all_pixels(accuracy, used, key, scaled):
    p, t, _, _ = _pairs(used, scaled)
    assert [(band["near_m"], band["far_m"]) for band in accuracy["bands"]] == BANDS
    for band, (near, far) in zip(accuracy["bands"], BANDS):
        inside = (t >= near) & (t < (far or np.inf))
        assert band["pixels"] == inside.sum() > 0
        assert band["share"] == pytest.approx(inside.mean())
        assert band[key] == pytest.approx(_nine(p[inside], t[inside]), rel=1e-6)


@pytest.mark.parametrize(("key", "scaled"), [("metric", False), ("median_scaled", True)])
def test_regions_are_pooled_over_all_pixels(accuracy, used, key, scaled):
    p, t, down, across = _pairs(used, scaled)
    regions = accuracy["regions"]
    assert (regions["rows"], regions["columns"]) == (3, 3)
    for row in range(3):
        for column in range(3):
            inside = (down == row) & (across == column)
            assert regions["share"][row][column] == pytest.approx(inside.mean())
            expected = np.mean(np.abs(p - t)[inside] / t[inside])
            assert regions[f"{key}_abs_rel"][row][column] == pytest.approx(expected, rel=1e-6)


def test_a_distance_on_the_edge_belongs_to_the_farther_band():
    truth = np.array([[1.0, 2.0, 4.0, 8.0, 0.75]], np.float32)
    scores = Scores(LIMITS)
    scores.add(0.0, truth, truth, np.zeros((1, 5, 3), np.uint8))
    assert [band["pixels"] for band in scores.accuracy()["bands"]] == [1] * 5


def test_bands_and_regions_without_a_pixel_are_null():
    truth = np.full((6, 6), np.nan, np.float32)
    truth[0, 0], truth[5, 5] = 3.0, 3.5
    scores = Scores(LIMITS)
    scores.add(0.0, np.full_like(truth, 3.5), truth, np.zeros((6, 6, 3), np.uint8))
    found = scores.accuracy()
    assert [band["metric"] is None for band in found["bands"]] == [True, True, False, True, True]
    assert [band["share"] for band in found["bands"]] == [0, 0, 1, 0, 0]
    assert found["regions"]["metric_abs_rel"] == [
        [pytest.approx(1 / 6), None, None],
        [None, None, None],
        [None, None, 0.0],
    ]
    assert found["regions"]["share"] == [[0.5, 0, 0], [0, 0, 0], [0, 0, 0.5]]


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 2), (700, 211)])
def test_every_pixel_is_in_one_region_whatever_the_size(size):
    truth = np.random.default_rng(3).uniform(1, 9, size).astype(np.float32)
    scores = Scores(LIMITS)
    scores.add(0.0, 1.1 * truth, truth, np.zeros((*size, 3), np.uint8))
    found = scores.accuracy()
    assert np.sum(found["regions"]["share"]) == pytest.approx(1.0)
    assert sum(band["pixels"] for band in found["bands"]) == size[0] * size[1]
    assert found["metric"]["abs_rel"] == pytest.approx(0.1, rel=1e-5)
