from __future__ import annotations

import numpy as np
import pytest

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.replay.scores import Scores

LIMITS = (0.5, 10.0)


def _camera(height, width):
    return CameraModel.pinhole(width, height, 0.8 * width, 0.8 * width, width / 2, height / 2)


def _distances(prediction, truth, rays, scaled):
    """Distances between the points themselves."""
    keep = (truth > LIMITS[0]) & (truth < LIMITS[1]) & np.isfinite(prediction)
    p = prediction.astype(float)
    if scaled:
        p = p * np.median(truth[keep].astype(float)) / np.median(p[keep])
    keep &= np.isfinite(rays).all(-1)
    points = rays[keep] * np.clip(p, *LIMITS)[keep][:, None].astype(float)
    return np.linalg.norm(points - rays[keep] * truth[keep][:, None].astype(float), axis=1)


@pytest.mark.parametrize(("key", "scaled"), [("metric", False), ("median_scaled", True)])
def test_it_is_the_distance_between_points(frames, key, scaled):
    scores, distances = Scores(LIMITS), []
    rays = _camera(41, 50).rays().copy()
    rays[20:25, 3:30] = np.nan  # beyond the lens model
    for number, (prediction, truth, rgb) in enumerate(frames):
        near = np.where(np.isfinite(truth), 0.95 * truth + 0.05 * prediction, np.nan).astype(np.float32)
        scores.add(number / 10, near, truth, rgb, rays if number else _camera(41, 50).rays())
        distances.append(_distances(near, truth, rays if number else _camera(41, 50).rays(), scaled))
    expected = np.concatenate(distances)
    found = scores.accuracy()["cloud"]
    assert found["points"] == len(expected)
    assert found[key]["within_5cm"] == pytest.approx(np.mean(expected <= 0.05), abs=2 / len(expected))
    assert found[key]["within_10cm"] == pytest.approx(np.mean(expected <= 0.10), abs=2 / len(expected))
    assert found[key]["median_error_m"] == pytest.approx(np.median(expected), rel=0.003)


@pytest.mark.parametrize("error", [0.000_01, 0.0123, 0.5, 3.0])
def test_the_median_is_good_to_a_thousandth(error):
    truth = np.full((8, 8), 2.0, np.float32)
    rays = np.tile(np.array([0.0, 0.0, 1.0], np.float32), (8, 8, 1))
    scores = Scores(LIMITS)
    scores.add(0.0, (truth + np.float32(error)).astype(np.float32), truth, np.zeros((8, 8, 3), np.uint8), rays)
    exact = float(np.float32(2.0) + np.float32(error)) - 2.0
    assert scores.accuracy()["cloud"]["metric"]["median_error_m"] == pytest.approx(exact, rel=0.001)


def test_a_pixel_seen_askew_is_farther_off():
    truth = np.full((1, 2), 1.0, np.float32)
    rays = np.array([[[0.0, 0.0, 1.0], [3.0, 0.0, 1.0]]], np.float32)
    scores = Scores(LIMITS)
    scores.add(0.0, truth + np.float32(0.03125), truth, np.zeros((1, 2, 3), np.uint8), rays)  # x sqrt(10) is 9.9 cm
    found = scores.accuracy()["cloud"]["metric"]
    assert (found["within_5cm"], found["within_10cm"]) == (0.5, 1.0)


def test_a_perfect_cloud_has_no_error():
    truth = np.full((4, 4), 3.0, np.float32)
    scores = Scores(LIMITS)
    scores.add(0.0, truth, truth, np.zeros((4, 4, 3), np.uint8), _camera(4, 4).rays())
    assert scores.accuracy()["cloud"]["metric"] == {"within_5cm": 1.0, "within_10cm": 1.0, "median_error_m": 0.0}


def test_only_frames_with_rays_have_points(frames):
    scores = Scores(LIMITS)
    prediction, truth, rgb = frames[0]
    scores.add(0.0, prediction, truth, rgb)
    assert scores.accuracy()["cloud"] is None
    scores.add(0.1, prediction, truth, rgb, _camera(41, 50).rays())
    scores.add(0.2, prediction, truth, rgb, np.full((41, 50, 3), np.nan, np.float32))
    keep = (truth > LIMITS[0]) & (truth < LIMITS[1]) & np.isfinite(prediction)
    assert scores.accuracy()["cloud"]["points"] == keep.sum()
