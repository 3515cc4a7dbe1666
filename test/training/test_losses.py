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


@pytest.mark.parametrize("size", [(9, 13), (150, 230)])
def test_ssim_and_its_gradient_are_those_of_a_convolution(size):
    torch.manual_seed(0)
    target = torch.rand(2, *size, dtype=torch.float64) * 4 + 1
    mask = torch.rand(2, *size) > 0.3
    prediction = (target + torch.randn(2, *size) * 0.5).requires_grad_()
    other = prediction.detach().clone().requires_grad_()
    loss, expected = ssim_loss(prediction, target, mask), ssim_by_convolution(other, target, mask)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    loss.backward()
    expected.backward()
    assert torch.allclose(prediction.grad, other.grad, rtol=1e-6, atol=1e-12)
    assert prediction.grad.abs().max() > 0


def ssim_by_convolution(prediction, target, mask):
    """1 - SSIM as the paper has it: one two-dimensional window, one sample at a time."""
    line = torch.exp(-((torch.arange(11.0, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    window = (torch.outer(line, line) / line.sum() ** 2)[None, None]

    def blur(value):
        return torch.nn.functional.conv2d(value[None, None], window, padding=5)[0, 0]

    errors = []
    for guess, truth, valid in zip(prediction, target, mask):
        low, high = truth[valid].min(), truth[valid].max()
        x, y = (((value - low) / (high - low)).clamp(0, 1) for value in (guess, truth))
        covariance = blur(x * y) - blur(x) * blur(y)
        variances = blur(x * x) - blur(x) ** 2 + blur(y * y) - blur(y) ** 2
        above = (2 * blur(x) * blur(y) + 1e-4) * (2 * covariance + 9e-4)
        errors.append((1 - above / ((blur(x) ** 2 + blur(y) ** 2 + 1e-4) * (variances + 9e-4)))[valid])
    return torch.cat(errors).mean()
