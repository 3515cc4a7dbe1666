"""The nine metrics against the authors' numbers and by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clip_depth_ros.depth.metrics import NAMES, average, depth_metrics, median_scaled, valid_pixels

RANGE = (0.001, 10.0)


@pytest.fixture(scope="module")
def golden(shared_golden):
    tensors = load_file(shared_golden / "space_clip" / "loss_io.safetensors")
    expected = json.loads((shared_golden / "space_clip" / "loss_expected.json").read_text())
    return {name: tensor[:, 0] for name, tensor in tensors.items()}, expected


def test_metrics_equal_the_authors_per_image_and_on_average(golden):
    tensors, expected = golden
    mask = valid_pixels(tensors["gt"], RANGE)
    values = depth_metrics(tensors["pred"], tensors["gt"], mask, RANGE)
    for index, row in enumerate(expected["metrics_per_image"]):
        for name in NAMES:
            assert float(values[name][index]) == pytest.approx(row[name], rel=1e-5), (index, name)
    mean = average([values])
    for name in NAMES:
        assert mean[name] == pytest.approx(expected["metrics_mean"][name], rel=1e-5), name


def test_median_scaling_removes_a_wrong_scale():
    target = torch.rand(2, 9, 11) * 3 + 1
    mask = valid_pixels(target, RANGE)
    assert float(depth_metrics(target * 3, target, mask, RANGE)["abs_rel"].mean()) > 0.5
    assert float(depth_metrics(target * 3, target, mask, RANGE, median=True)["abs_rel"].max()) < 1e-5


def test_image_without_ground_truth_is_left_out_of_the_average():
    target = torch.stack([torch.full((4, 4), 2.0), torch.full((4, 4), float("nan"))])
    mask = valid_pixels(target, RANGE)
    values = depth_metrics(torch.full((2, 4, 4), 1.0), target, mask, RANGE)
    assert values["abs_rel"].tolist() == pytest.approx([0.5])


def one_image(prediction: list[float], target: list[float]) -> dict[str, float]:
    guess, truth = torch.tensor([[prediction]]), torch.tensor([[target]])
    values = depth_metrics(guess, truth, torch.ones_like(truth, dtype=torch.bool), RANGE)
    return {name: float(value) for name, value in values.items()}


def test_metrics_by_hand():
    # Two pixels: errors +1 and -1 m at 2 and 4 m.
    found = one_image([3.0, 3.0], [2.0, 4.0])
    logs = np.array([np.log(1.5), np.log(0.75)])
    assert found["abs_rel"] == pytest.approx((0.5 + 0.25) / 2)
    assert found["sq_rel"] == pytest.approx((0.5 + 0.25) / 2)
    assert found["rmse"] == pytest.approx(1.0)
    assert found["rmse_log"] == pytest.approx(np.sqrt((logs**2).mean()))
    assert found["log_10"] == pytest.approx(np.abs(logs).mean() / np.log(10))
    assert found["silog"] == pytest.approx(100 * np.sqrt((logs**2).mean() - logs.mean() ** 2))
    assert (found["a1"], found["a2"], found["a3"]) == (0.0, 1.0, 1.0)
    assert tuple(found) == NAMES


def test_thresholds_are_strict():
    found = one_image([1.25, 1.24, 1.5625, 1.9], [1.0] * 4)
    assert (found["a1"], found["a2"], found["a3"]) == (0.25, 0.5, 1.0)


def test_the_median_of_an_even_number_is_between_the_middle_two():
    target, prediction = torch.tensor([[[1.0, 3.0, 9.0]]]), torch.tensor([[[1.0, 1.0, 5.0]]])
    mask = torch.tensor([[[True, True, False]]])
    assert torch.equal(median_scaled(prediction, target, mask), prediction * 2)


@pytest.mark.parametrize("median", [False, True])
def test_metrics_that_torchmetrics_has_agree_with_it(median):
    from torchmetrics.functional import mean_absolute_percentage_error, mean_squared_error

    draw = torch.Generator().manual_seed(5)
    target = torch.rand(3, 7, 9, generator=draw) * 6
    prediction = target * (0.6 + torch.rand(3, 7, 9, generator=draw)) + 0.01
    mask = valid_pixels(target, (1.0, 5.0))
    values = depth_metrics(prediction, target, mask, (1.0, 5.0), median)
    for index, valid in enumerate(mask):
        guess, truth = prediction[index][valid], target[index][valid]
        if median:
            guess = guess * truth.quantile(0.5) / guess.quantile(0.5)
        guess = guess.clamp(1.0, 5.0)
        referee = {
            "abs_rel": mean_absolute_percentage_error(guess, truth),
            "rmse": mean_squared_error(guess, truth, squared=False),
            "rmse_log": mean_squared_error(guess.log(), truth.log(), squared=False),
        }
        for name, expected in referee.items():
            assert float(values[name][index]) == pytest.approx(float(expected), rel=1e-5), name
