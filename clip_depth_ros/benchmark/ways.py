"""The ways this machine can run a network, and the only place of the suite that knows how an estimator is run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from clip_depth_ros.benchmark.report import Table
from clip_depth_ros.benchmark.turns import Spread, take_turns
from clip_depth_ros.benchmark.weights import Weights
from clip_depth_ros.depth.config import ACCELERATIONS, PRECISIONS
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.loading import pick_device
from clip_depth_ros.depth.network import Plan
from clip_depth_ros.errors import BadInput
from clip_depth_ros.hardware import cpu_features

REFERENCE = "plain PyTorch"
_NARROW = ("avx512_bf16", "amx_bf16", "bf16")  # CPU features without which bf16 is emulated
_WARM_UPS = 3
_SEEN = 1e-3  # metres below which a reference depth is too small to be relative to


class Choice(NamedTuple):
    """How an estimator is asked to run; the names of its parameters."""

    precision: str = "auto"
    acceleration: str = "auto"

    def __str__(self) -> str:
        return "auto" if self == Choice() else f"{self.precision} {self.acceleration}"


def set_up(arguments: argparse.Namespace) -> torch.device:
    """Sets the threads, fills in what depends on the device, and returns that.

    Raises:
        BadInput: no such device, precision or acceleration.
    """
    device = pick_device(arguments.device)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    for name, known in (("precision", PRECISIONS), ("acceleration", ACCELERATIONS)):
        given = getattr(arguments, name, None) or ()
        for value in [given] if isinstance(given, str) else given:
            if value not in known:
                raise BadInput(f"--{name} is {value!r}: it must be one of {', '.join(known)}.")
    if getattr(arguments, "repeats", 1) is None:
        arguments.repeats = 20 if device.type == "cuda" else 1
    return device


def choices(arguments: argparse.Namespace, device: torch.device) -> list[Choice]:
    """Returns what was asked for, or all that the machine has and ``auto``, which is what the node takes by itself."""
    asked, accelerated = arguments.precision, arguments.acceleration
    precisions: Sequence[str]
    accelerations: Sequence[str]
    if asked or accelerated:
        return [Choice(one, other) for one in asked or ["auto"] for other in accelerated or ["auto"]]
    if device.type == "cuda":
        precisions, accelerations = ("fp32", "bf16", "bf16_encoder", "fp16"), ("eager", "compile", "cuda_graph")
    else:
        has_bf16 = any(feature in _NARROW for feature in cpu_features())
        precisions = ("fp32", "bf16", "bf16_encoder") if has_bf16 else ("fp32",)
        accelerations = ("eager", "compile")
    return [Choice(), *(Choice(one, other) for one in precisions for other in accelerations)]


def estimator_of(weights: Weights, choice: Choice, device: torch.device) -> DepthEstimator:
    """Returns an estimator with copies of the weights, run as ``choice`` says."""
    encoder, heads = weights.copies()
    return DepthEstimator(
        encoder,
        heads,
        str(device),
        choice.precision,
        input_size=weights.input_size,
        normalisation=weights.normalisation,
        acceleration=choice.acceleration,
    )


def network_alone(estimator: DepthEstimator, images: Tensor, size: tuple[int, int]) -> Callable[[], Tensor]:
    """Returns a call that gives the main head's depth ``(B, H, W)`` at ``size``, there where the network runs.

    Args:
        estimator: what is timed.
        images: uint8 RGB ``(B, h, w, 3)`` on the network's device, at the size of the encoder's input: nothing is left
            to do before the encoder but to normalise them.
        size: (height, width) pixels of the depth.
    """
    main = next(iter(estimator.heads))
    plan = Plan((tuple(images.shape),), ((len(images), size),), tuple(estimator.heads), tokens=False, scaled=False)
    estimator._runner.prepare(plan)

    return lambda: estimator(images, output_size=size, tokens=False)[main].depth


def from_host(estimator: DepthEstimator, images: Sequence[np.ndarray]) -> Callable[[], list[np.ndarray]]:
    """Returns a call that takes pictures of one size in one batch and gives the main head's depths.

    From uint8 RGB ``(H, W, 3)`` in host memory to float32 ``(H, W)`` metres there.
    """
    main = next(iter(estimator.heads))
    height, width = images[0].shape[:2]
    estimator.prepare((height, width), batch=len(images), heads=(main,))

    def answer() -> list[np.ndarray]:
        results = estimator.run(images, heads=(main,), to_host=True)
        return [result[main].depth[0].numpy() for result in results]

    return answer


def errors(depth: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """Returns the error of ``depth`` relative to ``exact``, in per cent: median, 99th percentile and largest.

    Pixels nearer than 1 mm are left out; NaN when nothing remains.
    """
    seen = exact > _SEEN
    if not seen.any():
        return dict.fromkeys(("p50", "p99", "max"), float("nan"))
    relative = 100 * np.abs(depth[seen] - exact[seen]) / exact[seen]
    half, most = np.percentile(relative, (50, 99))
    return {"p50": float(half), "p99": float(most), "max": float(relative.max())}


class Comparison(NamedTuple):
    """Ways to the same depth, the first of which is what the others are compared with.

    Attributes:
        seconds: of each way in each round.
        ratios: how many times as fast as the first each way was in each round.
        errors: of each way's depth, see :func:`errors`.
        paths: how each way was run, in words.
    """

    seconds: dict[str, list[float]]
    ratios: dict[str, list[float]]
    errors: dict[str, dict[str, float]]
    paths: dict[str, dict[str, str]]

    def as_results(self) -> dict[str, Any]:
        """Returns all of it, JSON-ready."""
        spreads = {name: Spread.of(values)._asdict() for name, values in self.seconds.items()}
        ratios = {name: Spread.of(values)._asdict() for name, values in self.ratios.items()}
        return {
            "seconds": self.seconds,
            "ratios": self.ratios,
            "errors_percent": self.errors,
            "paths": self.paths,
            "seconds_spread": spreads,
            "ratios_spread": ratios,
        }

    def table(self, rates: bool = False) -> Table:
        """Returns a row for each way, with ``rates`` in frames a second too."""
        first = next(iter(self.seconds))
        digits = digits_of(self.seconds)
        rows = []
        for name, values in self.seconds.items():
            error = self.errors[name]
            row = [name, Spread.of(values).text(digits, 1e3)]
            row += [Spread.of([1 / value for value in values]).text(1)] if rates else []
            row += [Spread.of(self.ratios[name]).text(2), f"{error['p50']:.3g}", f"{error['p99']:.3g}"]
            rows.append([*row, "; ".join(self.paths.get(name, {}).values()) or "-"])
        heading = ["way", "ms (lowest to highest)", *(["frames/s"] if rates else []), f"times as fast as {first}"]
        return Table([*heading, "depth error p50 [%]", "p99 [%]", "how it ran"], rows)


def digits_of(seconds: Mapping[str, Sequence[float]]) -> int:
    """Returns how many decimals milliseconds need to tell these times apart."""
    return 1 if min(min(values) for values in seconds.values()) >= 0.01 else 3


def compare(
    ways: Mapping[str, Callable[[], Any]],
    depth_of: Callable[[Any], np.ndarray],
    paths: Callable[[], dict[str, dict[str, str]]],
    arguments: argparse.Namespace,
    device: torch.device,
) -> Comparison:
    """Times ``ways`` in turns.

    Args:
        ways: what to compare, by name.
        depth_of: makes metres in host memory of what a way returns.
        paths: returns how each was run; asked at the end.
        arguments: ``rounds`` and ``repeats``.
        device: where they compute.
    """
    with torch.no_grad():
        answers = {name: depth_of(way()) for name, way in ways.items()}
        digits = 3 if device.type == "cuda" else 1
        taken = take_turns(
            ways, arguments.rounds, str(device), repeats=arguments.repeats, warm_ups=_WARM_UPS, digits=digits
        )
    first = next(iter(ways))
    return Comparison(
        taken,
        {name: [slow / fast for slow, fast in zip(taken[first], values)] for name, values in taken.items()},
        {name: errors(depth, answers[first]) for name, depth in answers.items()},
        paths(),
    )
