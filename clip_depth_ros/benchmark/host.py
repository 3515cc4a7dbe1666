"""``clip-depth benchmark host``: a picture in host memory to its depth in host memory, resize and copies included."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np

from clip_depth_ros.benchmark.report import Outcome, draw_bars
from clip_depth_ros.benchmark.ways import REFERENCE, choices, compare, estimator_of, from_host, set_up
from clip_depth_ros.benchmark.weights import load_weights, picture
from clip_depth_ros.sizes import parse_size


def measure(arguments: argparse.Namespace) -> Outcome:
    """Times uint8 ``(H, W, 3)`` to float32 ``(H, W)`` metres, in every way the machine has, against plain PyTorch.

    Raises:
        BadInput: weights, device or an option that cannot be used.
    """
    size = parse_size(arguments.size, "--size")
    device = set_up(arguments)
    weights = load_weights(arguments).only_main()
    image = picture(size)
    ways: dict[str, Callable[[], list[np.ndarray]]] = {}
    if not arguments.no_reference:
        plain = weights.reference(device)
        ways[REFERENCE] = lambda: [plain.from_host(image)]
    estimators = {str(choice): estimator_of(weights, choice, device) for choice in choices(arguments, device)}
    ways |= {name: from_host(estimator, [image]) for name, estimator in estimators.items()}
    found = compare(
        ways,
        lambda depths: depths[0],
        lambda: {name: estimator.path for name, estimator in estimators.items()},
        arguments,
        device,
    )
    rates = {name: [1 / value for value in values] for name, values in found.seconds.items()}
    title = f"Host picture to host depth: {weights.name}, {size[0]}x{size[1]}, on {device}"
    results = {"device": str(device), "weights": weights.name, "frames_per_second": rates, **found.as_results()}
    return Outcome(title, results, [found.table(rates=True)], partial(draw_bars, label="frames/s", values=rates))
