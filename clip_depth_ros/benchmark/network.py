"""``clip-depth benchmark network``: the network alone, nothing before its pixels and nothing after its depth."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from clip_depth_ros.benchmark.report import Outcome, draw_bars
from clip_depth_ros.benchmark.ways import REFERENCE, choices, compare, estimator_of, network_alone, set_up
from clip_depth_ros.benchmark.weights import load_weights, picture
from clip_depth_ros.sizes import parse_size


def measure(arguments: argparse.Namespace) -> Outcome:
    """Times the main head behind its encoder, in every way the machine has, against plain PyTorch.

    The reference gets normalised float pixels, and keeps its answer where it computes; ours gets the same pixels as
    8-bit values and normalises them too.

    Raises:
        BadInput: weights, device or an option that cannot be used.
    """
    size = parse_size(arguments.size, "--size")
    device = set_up(arguments)
    weights = load_weights(arguments).only_main()
    height, width = weights.input_size
    images = np.stack([picture((height, width), seed) for seed in range(arguments.batch)])
    entered = torch.from_numpy(images).to(device)
    ways: dict[str, Callable[[], Tensor]] = {}
    if not arguments.no_reference:
        plain = weights.reference(device)
        ways[REFERENCE] = partial(plain, plain.pixels(entered), size)
    estimators = {str(choice): estimator_of(weights, choice, device) for choice in choices(arguments, device)}
    ways |= {name: network_alone(estimator, entered, size) for name, estimator in estimators.items()}
    found = compare(
        ways,
        lambda depth: depth.float().cpu().numpy(),
        lambda: {name: estimator.path for name, estimator in estimators.items()},
        arguments,
        device,
    )
    shown = {name: [1e3 * value for value in values] for name, values in found.seconds.items()}
    title = (
        f"Network alone: {weights.name}, batch {arguments.batch}, {height}x{width} pixels to depth "
        f"{size[0]}x{size[1]}, on {device}"
    )
    results = {"device": str(device), "weights": weights.name, **found.as_results()}
    return Outcome(title, results, [found.table()], partial(draw_bars, label="ms a batch", values=shown))
