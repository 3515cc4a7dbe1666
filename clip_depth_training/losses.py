"""SPACE-CLIP's training losses (arXiv 2601.17657, in the form of the authors' code).

All take prediction and target ``(B, H, W)`` float32 in metres and a boolean mask of the valid target pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_SMALLEST_DEPTH = 1e-7
_SMALLEST_SPREAD = 1e-7
_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03


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
    weight = mask.to(prediction.dtype)
    count = weight.sum().clamp_min(1)
    logarithm = torch.log(prediction.clamp_min(_SMALLEST_DEPTH)) - torch.log(target.clamp_min(_SMALLEST_DEPTH))
    difference = torch.where(mask, logarithm, 0.0)
    mean = difference.sum() / count
    variance = ((difference - mean).square() * weight).sum() / count
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
        total = total + 0.5 * steps.sum() / both.sum().clamp_min(1)
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
    means = _blurred(torch.stack([x, y, x * x, y * y, x * y], dim=1))
    mean_x, mean_y = means[:, 0], means[:, 1]
    variance_x, variance_y = means[:, 2] - mean_x.square(), means[:, 3] - mean_y.square()
    covariance = means[:, 4] - mean_x * mean_y
    c1, c2 = _K1**2, _K2**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x.square() + mean_y.square() + c1) * (variance_x + variance_y + c2)
    )
    return torch.where(mask, 1 - similarity, 0.0).sum() / mask.sum().clamp_min(1)


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


def _blurred(maps: Tensor) -> Tensor:
    """Returns ``(B, C, H, W)`` under the Gaussian window, as two one-dimensional passes over zero padding."""
    offsets = torch.arange(_WINDOW, dtype=maps.dtype, device=maps.device) - _WINDOW // 2
    kernel = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    kernel = kernel / kernel.sum()
    flat = maps.flatten(0, 1)[:, None]
    flat = F.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(_WINDOW // 2, 0))
    flat = F.conv2d(flat, kernel.view(1, 1, 1, -1), padding=(0, _WINDOW // 2))
    return flat[:, 0].unflatten(0, maps.shape[:2])
