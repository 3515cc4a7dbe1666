"""Losses against the numbers of the authors' implementation."""

import json

import pytest
import torch
from safetensors.torch import load_file

from clip_depth_training.losses import gradient_loss, silog_loss, space_clip_loss, ssim_loss


@pytest.fixture(scope="module")
def golden(shared_golden):
    tensors = load_file(shared_golden / "space_clip" / "loss_io.safetensors")
    expected = json.loads((shared_golden / "space_clip" / "loss_expected.json").read_text())
    return {name: tensor[:, 0] for name, tensor in tensors.items()}, expected


@pytest.mark.parametrize(("name", "loss"), [("silog", silog_loss), ("ssim", ssim_loss), ("grad", gradient_loss)])
def test_loss_equals_the_authors(golden, name, loss):
    tensors, expected = golden
    value = loss(tensors["pred"], tensors["gt"], tensors["mask"])
    assert float(value) == pytest.approx(expected[name], rel=1e-5)


def test_silog_resizes_a_smaller_prediction_as_the_authors_do(golden):
    tensors, expected = golden
    value = silog_loss(tensors["pred"][:, ::2, ::2], tensors["gt"], tensors["mask"])
    assert float(value) == pytest.approx(expected["silog_pred_half_res"], rel=1e-5)


def test_losses_have_finite_gradients_when_a_sample_has_no_valid_pixel():
    prediction = (torch.rand(2, 16, 16) + 0.5).requires_grad_()
    target = torch.rand(2, 16, 16) + 1
    mask = torch.ones_like(target, dtype=torch.bool)
    mask[1] = False
    target[1] = 0
    auxiliary = [prediction[:, ::2, ::2] * 1.1]
    space_clip_loss(prediction, auxiliary, target, mask).backward()
    assert torch.isfinite(prediction.grad).all()
    assert prediction.grad[0].abs().sum() > 0
    assert prediction.grad[1].abs().sum() == 0
