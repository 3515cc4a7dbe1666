from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torchmetrics.functional import mean_absolute_percentage_error, mean_squared_error, mean_squared_log_error

from clip_depth_ros.depth.metrics import NAMES, average, depth_metrics, valid_pixels
from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.scores import Scores

LIMITS = (0.5, 10.0)


def _slow(prediction, truth, limits, scaled):
    """The nine metrics of one image, pixel by pixel in plain Python."""
    pairs = [
        (float(p), float(t))
        for p, t in zip(prediction.ravel(), truth.ravel())
        if limits[0] < t < limits[1] and math.isfinite(p)
    ]
    if scaled:
        ratio = np.median([t for _, t in pairs]) / np.median([p for p, _ in pairs])
        pairs = [(p * ratio, t) for p, t in pairs]
    pairs = [(min(max(p, limits[0]), limits[1]), t) for p, t in pairs]
    logs = [math.log(p) - math.log(t) for p, t in pairs]

    def mean(values):
        values = list(values)
        return math.fsum(values) / len(values)

    return {
        "abs_rel": mean(abs(p - t) / t for p, t in pairs),
        "sq_rel": mean((p - t) ** 2 / t for p, t in pairs),
        "rmse": math.sqrt(mean((p - t) ** 2 for p, t in pairs)),
        "rmse_log": math.sqrt(mean(one * one for one in logs)),
        "log_10": mean(abs(math.log10(p / t)) for p, t in pairs),
        "silog": 100 * float(np.std(logs)),
        **{f"a{k}": mean(max(p / t, t / p) < 1.25**k for p, t in pairs) for k in (1, 2, 3)},
    }


def _scores(frames, limits=LIMITS):
    scores = Scores(limits)
    for number, (prediction, truth, rgb) in enumerate(frames):
        scores.add(number / 10, prediction, truth, rgb)
    return scores


@pytest.mark.parametrize(("key", "scaled"), [("metric", False), ("median_scaled", True)])
def test_each_metric_is_the_mean_over_images(frames, key, scaled):
    found = _scores(frames).accuracy()
    rows = [_slow(prediction, truth, LIMITS, scaled) for prediction, truth, _ in frames]
    assert list(found[key]) == list(NAMES)
    for name in NAMES:
        assert found[key][name] == pytest.approx(np.mean([row[name] for row in rows]), rel=2e-7), name
    assert found["images"] == len(frames)


@pytest.mark.parametrize(("key", "scaled"), [("metric", False), ("median_scaled", True)])
def test_they_are_those_that_training_and_evaluation_use(frames, key, scaled):
    found = _scores(frames).accuracy()
    parts = []
    for prediction, truth, _ in frames:
        depth, target = torch.from_numpy(prediction)[None], torch.from_numpy(truth)[None]
        mask = valid_pixels(target, LIMITS) & depth.isfinite()
        parts.append(depth_metrics(depth, target, mask, LIMITS, median=scaled))
    expected = average(parts)
    assert found[key] == pytest.approx(expected, rel=1e-12)


def test_torchmetrics_agrees(frames):
    prediction, truth, _ = frames[0]
    found = _scores(frames[:1]).accuracy()["metric"]
    keep = (truth > LIMITS[0]) & (truth < LIMITS[1]) & np.isfinite(prediction)
    guess, target = (torch.from_numpy(one[keep]).double() for one in (prediction, truth))
    guess = guess.clamp(*LIMITS)
    assert found["abs_rel"] == pytest.approx(float(mean_absolute_percentage_error(guess, target)), rel=1e-6)
    assert found["rmse"] == pytest.approx(float(mean_squared_error(guess, target, squared=False)), rel=1e-6)
    # Its logarithm is of 1 + x, so give it x - 1.
    squared_log = float(mean_squared_log_error(guess - 1, target - 1))
    assert found["rmse_log"] == pytest.approx(math.sqrt(squared_log), rel=1e-6)


def test_four_pixels_by_hand():
    truth = np.array([[1.0, 2.0], [4.0, 5.0]], np.float32)
    prediction = np.array([[1.25, 2.0], [2.0, np.nan]], np.float32)
    scores = _scores([(prediction, truth, np.zeros((2, 2, 3), np.uint8))], (0.1, 10.0))
    found = scores.accuracy()
    assert found["coverage"] == 0.75
    assert found["metric"]["abs_rel"] == pytest.approx((0.25 + 0 + 0.5) / 3)
    assert found["metric"]["sq_rel"] == pytest.approx((0.0625 + 0 + 1.0) / 3)
    assert found["metric"]["rmse"] == pytest.approx(math.sqrt((0.0625 + 4) / 3))
    assert found["metric"]["a1"] == pytest.approx(1 / 3)  # 1.25 is not below 1.25
    assert found["metric"]["a2"] == pytest.approx(2 / 3)
    assert scores.frames()["scale"] == [1.0]  # medians 2.0 and 2.0
    assert found["median_scaled"] == found["metric"]


def test_a_wrong_scale_shows_in_metric_and_not_in_median_scaled(frames):
    truth = np.nan_to_num(frames[0][1], nan=0.0, posinf=0.0)
    found = _scores([(np.float32(1.5) * truth, truth, frames[0][2])], (0.5, 6.0))
    accuracy = found.accuracy()
    # Beyond 4 m the prediction is clipped to 6 m, and less wrong for it.
    assert 0.4 < accuracy["metric"]["abs_rel"] < 0.5
    assert accuracy["median_scaled"]["abs_rel"] < 1e-6
    assert found.frames()["scale"] == [pytest.approx(1.5, rel=1e-6)]


def test_frame_columns(frames):
    blank = np.full_like(frames[0][1], np.nan)
    mixed = [frames[0], (frames[1][0], None, frames[1][2]), (frames[2][0], blank, frames[2][2]), frames[3]]
    scores = _scores(mixed)
    columns = scores.frames()
    assert [len(column) for column in columns.values()] == [4] * 4
    for name, scaled in (("abs_rel", False), ("abs_rel_median_scaled", True)):
        expected = [_slow(*mixed[number][:2], LIMITS, scaled)["abs_rel"] for number in (0, 3)]
        assert columns[name] == [pytest.approx(expected[0]), None, None, pytest.approx(expected[1])]
    prediction, truth, _ = frames[0]
    keep = (truth > LIMITS[0]) & (truth < LIMITS[1]) & np.isfinite(prediction)
    assert columns["scale"][0] == pytest.approx(np.median(prediction[keep]) / np.median(truth[keep]), rel=1e-6)
    assert columns["flicker"] == [None] * 4  # every picture is new noise
    assert scores.accuracy()["images"] == 2


def test_coverage_counts_truth_without_prediction(frames):
    inside = [(truth > LIMITS[0]) & (truth < LIMITS[1]) for _, truth, _ in frames]
    seen = [mask & np.isfinite(prediction) for mask, (prediction, _, _) in zip(inside, frames)]
    empty = (np.full_like(frames[0][0], np.nan), frames[0][1], frames[0][2])
    found = _scores([*frames, empty]).accuracy()
    assert found["coverage"] == np.sum(seen) / (np.sum(inside) + inside[0].sum())
    assert found["images"] == len(frames)


def test_no_truth_is_no_accuracy(frames):
    assert Scores(LIMITS).accuracy() is None
    assert Scores(LIMITS).frames()["abs_rel"] == []
    assert _scores([(prediction, None, rgb) for prediction, _, rgb in frames]).accuracy() is None
    outside = np.full_like(frames[0][1], 10.0)  # the limits themselves are outside
    assert _scores([(frames[0][0], outside, frames[0][2])]).accuracy() is None


def test_all_of_it_is_plain_json(frames):
    scores = _scores(frames)
    text = json.dumps({**scores.accuracy(), **scores.frames()}, allow_nan=False)
    assert json.loads(text)["images"] == len(frames)
    one_pixel = Scores(LIMITS)
    one_pixel.add(0.0, np.full((1, 1), 2, np.float32), np.full((1, 1), 1, np.float32), np.zeros((1, 1, 3), np.uint8))
    found = json.loads(json.dumps(one_pixel.accuracy(), allow_nan=False))
    assert found["metric"]["abs_rel"] == 1.0
    assert found["scale"] == {"median": 2.0, "p10": 2.0, "p90": 2.0, "drift_per_minute": None}
    assert found["flicker"] is None
    assert found["cloud"] is None


def test_nothing_given_is_changed(frames):
    prediction, truth, rgb = (one.copy() for one in frames[0])
    scores = _scores([(prediction, truth, rgb)])
    assert all(np.array_equal(mine, given, equal_nan=True) for mine, given in zip((prediction, truth), frames[0]))
    before = scores.state()
    prediction[:], truth[:], rgb[:] = 1, 1, 1
    assert all(np.array_equal(before[key], array, equal_nan=True) for key, array in scores.state().items())


def test_a_read_only_truth_is_shared_and_changes_no_result(frames):
    expected = [_scores(frames, limits).accuracy() for limits in (LIMITS, (0.5, 6.0), LIMITS)]
    shared = [Scores(LIMITS), Scores((0.5, 6.0)), Scores(LIMITS)]
    for number, (prediction, truth, rgb) in enumerate(frames):
        truth.setflags(write=False)
        for scores in shared:
            scores.add(number / 10, prediction, truth, rgb)
    assert [scores.accuracy() for scores in shared] == expected


def test_a_truth_that_is_written_into_again_is_read_again(frames):
    buffer, scores = np.empty_like(frames[0][1]), Scores(LIMITS)
    for number, (prediction, truth, rgb) in enumerate(frames):
        buffer[:] = truth
        scores.add(number / 10, prediction, buffer, rgb)
    assert scores.accuracy() == _scores(frames).accuracy()


def test_negative_and_zero_predictions_are_clipped_to_the_range():
    truth = np.full((4, 4), 2.0, np.float32)
    rgb = np.zeros((4, 4, 3), np.uint8)
    found = _scores([(np.zeros_like(truth), truth, rgb), (-truth, truth, rgb)]).accuracy()
    assert found["coverage"] == 1.0
    assert found["metric"]["abs_rel"] == pytest.approx(0.75)  # 0.5 m instead of 2 m
    assert math.isfinite(found["median_scaled"]["rmse_log"])
    assert found["scale"]["drift_per_minute"] is None


def test_bad_input(frames):
    for limits in ((0.0, 10.0), (5.0, 5.0), (1.0, math.inf), (math.nan, 2.0)):
        with pytest.raises(BadInput, match="nearest"):
            Scores(limits)
    prediction, truth, rgb = frames[0]
    with pytest.raises(BadInput, match="ground truth has shape"):
        Scores(LIMITS).add(0.0, prediction, truth[1:], rgb)
    with pytest.raises(BadInput, match="picture has shape"):
        Scores(LIMITS).add(0.0, prediction, truth, rgb[:, 1:])
