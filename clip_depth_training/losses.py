"""SPACE-CLIP's training losses (arXiv 2601.17657, in the form of the authors' code).

All take prediction and target ``(B, H, W)`` float32 in metres and a boolean mask of the valid target pixels. With
several processes the sums are over the whole batch, so that each has the loss of one process with all the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clip_depth_training.distributed import all_sum

_SMALLEST_DEPTH = 1e-7
_SMALLEST_SPREAD = 1e-7
_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03
_BLOCK = 96  # rows or columns of the blurred map computed at once


def match_size(prediction: Tensor, target: Tensor) -> Tensor:
    """Returns the prediction at the target's size: bilinear with aligned corners, as the authors' losses do it."""
    if prediction.shape[-2:] == target.shape[-2:]:
        return prediction
    size = (target.shape[-2], target.shape[-1])
    return F.interpolate(prediction[:, None], size, mode="bilinear", align_corners=True)[:, 0]


def silog_loss(prediction: Tensor, target: Tensor, mask: Tensor, scale_weight: float = 0.15) -> Tensor:
    """Scale-invariant log error: 10 sqrt(var(g) + scale_weight mean(g)^2), g = log prediction - log target.

    Mean and (biased) variance are over the valid pixels of the whole batch; ``scale_weight`` is the paper's 1 - lambda.
    """
    prediction = match_size(prediction, target)
    # Outside the mask both are 1, so that their logarithms cancel and no gradient is NaN.
    logarithm = torch.where(mask, prediction, 1.0).clamp_min(_SMALLEST_DEPTH).log()
    logarithm = logarithm - torch.where(mask, target, 1.0).clamp_min(_SMALLEST_DEPTH).log()
    total, count = all_sum(logarithm.sum(), mask.sum().to(logarithm.dtype))
    count = count.clamp_min(1)
    mean = total / count
    (squares,) = all_sum(torch.where(mask, logarithm - mean, 0.0).square().sum())
    variance = squares / count
    return 10 * torch.sqrt((variance + scale_weight * mean.square()).clamp_min(_SMALLEST_SPREAD))


def gradient_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Half the mean error of horizontal steps plus half that of vertical ones, where both neighbours are valid."""
    difference = match_size(prediction, target) - target
    total = difference.new_zeros(())
    for axis in (-1, -2):
        size = difference.shape[axis]
        after, before = (difference.narrow(axis, start, size - 1) for start in (1, 0))
        both = mask.narrow(axis, 1, size - 1) & mask.narrow(axis, 0, size - 1)
        steps = torch.where(both, (after - before).abs(), 0.0)
        error, count = all_sum(steps.sum(), both.sum().to(steps.dtype))
        total = total + 0.5 * error / count.clamp_min(1)
    return total


def ssim_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """1 - SSIM, averaged over the valid pixels of the batch.

    Both maps of a sample are first mapped by the valid target's range to 0..1 and clamped. 11 x 11 Gaussian window of
    sigma 1.5, zero padding, K1 = 0.01, K2 = 0.03, data range 1. A sample without valid pixels counts for nothing.
    """
    prediction = match_size(prediction, target)
    low = target.masked_fill(~mask, torch.inf).amin((-2, -1), keepdim=True)
    high = target.masked_fill(~mask, -torch.inf).amax((-2, -1), keepdim=True)
    usable = torch.isfinite(low)
    low, span = torch.where(usable, low, 0.0), torch.where(usable, high - low, 1.0).clamp_min(1e-6)
    x, y = (((depth - low) / span).clamp(0, 1) for depth in (prediction, target))
    mean_x, mean_y, square_x, square_y, product = (_blurred(part) for part in (x, y, x * x, y * y, x * y))
    crossed, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    c1, c2 = _K1**2, _K2**2
    covariance, variances = product - crossed, square_x + square_y - squares
    similarity = ((2 * crossed + c1) * (2 * covariance + c2)) / ((squares + c1) * (variances + c2))
    total, count = all_sum(torch.where(mask, 1 - similarity, 0.0).sum(), mask.sum().to(similarity.dtype))
    return total / count.clamp_min(1)


def space_clip_loss(
    prediction: Tensor,
    auxiliary: Sequence[Tensor],
    target: Tensor,
    mask: Tensor,
    auxiliary_weights: Sequence[float] = (0.10, 0.05, 0.0),
) -> Tensor:
    """0.5 SILog + 0.5 SSIM + the weighted SILog of the auxiliary heads."""
    total = 0.5 * silog_loss(prediction, target, mask) + 0.5 * ssim_loss(prediction, target, mask)
    for depth, weight in zip(auxiliary, auxiliary_weights):
        if weight:
            total = total + weight * silog_loss(depth, target, mask)
    return total


class _Blur(torch.autograd.Function):
    """The Gaussian window over ``(B, H, W)`` with zero padding, which is its own adjoint.

    As products with banded matrices, a block of the band at a time: many times faster on a CPU than a convolution of
    one channel and its gradient.
    """

    @staticmethod
    def forward(context: Any, maps: Tensor) -> Tensor:
        return _banded(maps)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return _banded(gradients[0])


def _blurred(maps: Tensor) -> Tensor:
    return _Blur.apply(maps)


def _banded(maps: Tensor) -> Tensor:
    height, width = maps.shape[-2:]
    rows, columns = (_band(size, maps.dtype, maps.device) for size in (height, width))
    across, result = torch.empty_like(maps), torch.empty_like(maps)
    for start, end, low, high in _blocks(width):
        across[..., start:end] = maps[..., low:high] @ columns[low:high, start:end]
    for start, end, low, high in _blocks(height):
        result[:, start:end] = rows[start:end, low:high] @ across[:, low:high]
    return result


def _blocks(size: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields start and end of the blocks of an axis, and start and end of what they are computed from."""
    for start in range(0, size, _BLOCK):
        end = min(size, start + _BLOCK)
        yield start, end, max(0, start - _WINDOW // 2), min(size, end + _WINDOW // 2)


@lru_cache(maxsize=16)
def _band(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns the symmetric matrix ``(size, size)`` that blurs an axis."""
    offsets = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    total = torch.exp(-offsets.square() / (2 * _SIGMA**2)).sum()
    position = torch.arange(size, dtype=torch.float64)
    distance = (position[:, None] - position).abs()
    weights = torch.exp(-distance.square() / (2 * _SIGMA**2)) / total
    return torch.where(distance <= _WINDOW // 2, weights, 0.0).to(device, dtype)
