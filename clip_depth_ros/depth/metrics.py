"""The nine usual depth metrics (Eigen et al., 2014, and their successors), per image, metric and median-scaled.

Training, evaluation and the replay benchmark all use these, so that their tables can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

NAMES = ("abs_rel", "sq_rel", "rmse", "rmse_log", "log_10", "silog", "a1", "a2", "a3")


def valid_pixels(target: Tensor, depth_range: tuple[float, float]) -> Tensor:
    """Returns where the target (metres) is strictly inside ``depth_range``; NaN is outside."""
    return (target > depth_range[0]) & (target < depth_range[1])


def median_scaled(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Returns each image's prediction multiplied so that its median over ``mask`` is the target's."""
    scaled = prediction.clone()
    for index, valid in enumerate(mask):
        if valid.any():
            ratio = _median(target[index][valid]) / _median(prediction[index][valid]).clamp_min(1e-7)
            scaled[index] *= ratio
    return scaled


def _median(values: Tensor) -> Tensor:
    """Returns the mean of the two middle values where their number is even, unlike ``Tensor.median``."""
    ordered = values.sort().values
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def depth_metrics(
    prediction: Tensor, target: Tensor, mask: Tensor, depth_range: tuple[float, float], median: bool = False
) -> dict[str, Tensor]:
    """Returns the nine metrics of each image that has valid pixels, each ``(images,)`` float64.

    Args:
        prediction: ``(B, H, W)`` metres; clipped to ``depth_range`` (after the scaling) before it is compared.
        target: ``(B, H, W)`` metres.
        mask: ``(B, H, W)`` bool, the pixels that count.
        depth_range: nearest and farthest depth of the protocol in metres.
        median: scale every prediction by the ratio of the medians first.

    Returns:
        ``abs_rel``, ``sq_rel`` (m), ``rmse`` (m), ``rmse_log``, ``log_10``, ``silog`` (x 100, as KITTI has it) and the
        part of the pixels whose ratio is below 1.25, 1.25^2 and 1.25^3 (``a1``, ``a2``, ``a3``; papers: delta, d1).
    """
    if median:
        prediction = median_scaled(prediction, target, mask)
    used = mask.flatten(1).any(1)
    prediction, target, mask = prediction[used].double(), target[used].double(), mask[used]
    count = mask.sum((1, 2))
    truth = torch.where(mask, target, 1.0)
    guess = torch.where(mask, prediction.clamp(*depth_range), 1.0)

    def mean(values: Tensor) -> Tensor:
        return torch.where(mask, values, 0.0).sum((1, 2)) / count

    difference, logarithm = guess - truth, torch.log(guess) - torch.log(truth)
    ratio = torch.maximum(guess / truth, truth / guess)
    spread = mean(logarithm.square()) - mean(logarithm).square()
    return {
        "abs_rel": mean(difference.abs() / truth),
        "sq_rel": mean(difference.square() / truth),
        "rmse": mean(difference.square()).sqrt(),
        "rmse_log": mean(logarithm.square()).sqrt(),
        "log_10": mean(logarithm.abs()) / torch.log(torch.tensor(10.0, dtype=torch.float64)),
        "silog": 100 * spread.clamp_min(0).sqrt(),
        **{f"a{power}": mean((ratio < 1.25**power).double()) for power in (1, 2, 3)},
    }


def average(parts: Iterable[Mapping[str, Tensor]]) -> dict[str, float]:
    """Returns each metric averaged over the images of all parts; NaN where there is no image."""
    gathered = list(parts)
    return {name: float(torch.cat([part[name] for part in gathered]).mean()) for name in NAMES}
