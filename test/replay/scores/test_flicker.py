from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from clip_depth_ros.replay.scores import Scores

LIMITS = (0.1, 20.0)


def _picture(seed=1, size=(60, 80)):
    """A picture with texture, smooth enough for a camera."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


def _flat(depth, size=(60, 80)):
    return np.full(size, depth, np.float32)


def _run(*frames):
    scores = Scores(LIMITS)
    for number, (prediction, truth, rgb) in enumerate(frames):
        scores.add(number / 10, prediction, truth, rgb)
    return scores


def test_a_still_camera_without_truth():
    picture = _picture()
    noisy = np.clip(picture + np.random.default_rng(2).normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
    scores = _run((_flat(2.0), None, picture), (_flat(2.2), None, noisy), (_flat(2.2), None, picture))
    first, second, third = scores.frames()["flicker"]
    assert first is None
    assert second == pytest.approx(math.log(1.1), rel=1e-6)
    assert third == 0.0


def test_a_moving_camera_without_truth_has_none():
    picture = _picture()
    moved = np.roll(picture, 4, axis=1)
    assert _run((_flat(2.0), None, picture), (_flat(2.2), None, moved)).frames()["flicker"] == [None, None]


def test_a_camera_before_a_white_wall_may_be_moving():
    wall = np.full((60, 80, 3), 200, np.uint8)
    assert _run((_flat(2.0), None, wall), (_flat(2.2), None, wall)).frames()["flicker"] == [None, None]
    with_truth = _run((_flat(2.0), _flat(2.0), wall), (_flat(2.2), _flat(2.0), wall))
    assert with_truth.frames()["flicker"][1] == pytest.approx(math.log(1.1), rel=1e-6)


def test_something_moving_before_a_still_camera_is_left_out():
    picture = _picture()
    later = picture.copy()
    later[10:30, 10:30] = np.where(picture[10:30, 10:30] < 128, 255, 0)
    depth = _flat(2.0)
    depth[12:28, 12:28] = 1.0  # what came in is nearer, and is no flicker
    scores = _run((_flat(2.0), None, picture), (depth, None, later))
    assert scores.frames()["flicker"][1] < 0.001  # of 0.037 were it counted; a few grey values agree by chance


def test_truth_that_changed_is_not_static():
    picture = _picture()
    before, after = _flat(3.0), _flat(3.0)
    after[:, 40:] = 3.3  # 10 %
    after[:20, :40] = 3.015  # 0.5 %: as still as a sensor is
    depth = np.where(after == np.float32(3.3), 2.2, 2.1).astype(np.float32)
    scores = _run((_flat(2.0), before, picture), (depth, after, picture))
    assert scores.frames()["flicker"][1] == pytest.approx(math.log(1.05), rel=1e-6)
    found = scores.accuracy()["flicker"]
    assert found["mean"] == pytest.approx(math.log(1.05), rel=1e-6)
    assert found["truth_mean"] == pytest.approx(math.log(1.005) / 3, rel=1e-4)
    assert found["pixels_share"] == 0.5


def test_truth_decides_for_a_moving_camera_where_there_is_truth():
    picture = _picture(size=(60, 80))
    picture[:, :40] = 180  # a wall that is slid along: same grey, same depth
    moved = picture.copy()
    moved[:, 40:] = np.roll(picture[:, 40:], 4, axis=1)
    truth = _flat(np.nan)
    truth[5:55, 2:38] = 4.0
    scores = _run((_flat(3.0), truth, picture), (_flat(3.3), truth, moved))
    assert scores.frames()["flicker"][1] == pytest.approx(math.log(1.1), rel=1e-6)
    assert scores.accuracy()["flicker"]["pixels_share"] == pytest.approx(50 * 36 / 4800)
    assert scores.accuracy()["flicker"]["truth_mean"] == 0.0


def test_only_pixels_with_a_prediction_in_both_frames():
    picture = _picture()
    before, after = _flat(2.0), _flat(2.5)
    before[:20], after[20:40], after[40] = np.nan, 0.0, np.inf
    scores = _run((before, _flat(2.0), picture), (after, _flat(2.0), picture))
    assert scores.accuracy()["flicker"]["mean"] == pytest.approx(math.log(1.25), rel=1e-6)
    assert scores.accuracy()["flicker"]["pixels_share"] == pytest.approx(19 / 60)


def test_too_few_static_pixels_are_no_flicker():
    truth = _flat(np.nan)
    truth[0, :40] = 2.0  # less than 1 % of the pixels
    moved = np.roll(_picture(), 9, axis=1)
    assert _run((_flat(2.0), truth, _picture()), (_flat(2.2), truth, moved)).frames()["flicker"] == [None, None]


def test_the_mean_is_over_frames_and_a_new_size_starts_afresh():
    picture, small = _picture(), _picture(size=(30, 40))
    scores = _run(
        (_flat(2.0), _flat(2.0), picture),
        (_flat(2.2), _flat(2.0), picture),
        (_flat(2.2), _flat(2.0), picture),
        (_flat(2.0, (30, 40)), _flat(2.0, (30, 40)), small),
    )
    assert scores.frames()["flicker"] == [None, pytest.approx(math.log(1.1), rel=1e-6), 0.0, None]
    assert scores.accuracy()["flicker"]["mean"] == pytest.approx(math.log(1.1) / 2, rel=1e-6)
