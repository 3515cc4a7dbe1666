"""``clip-depth benchmark parts``: parameters, FLOPs, memory and time of each part of a frame's way to depth.

The parts run one after the other, eagerly, with the types and folded weights the estimator gives them; the last row is
the estimator's own run, with whatever makes it fast.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from clip_depth_ros.benchmark.report import Outcome, Table, draw_bars
from clip_depth_ros.benchmark.turns import Spread, take_turns
from clip_depth_ros.benchmark.ways import Choice, digits_of, estimator_of, from_host, set_up
from clip_depth_ros.benchmark.weights import load_weights, picture
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.network import DepthNetwork
from clip_depth_ros.memory import MEBIBYTE, peak_growth, status_bytes
from clip_depth_ros.sizes import parse_size

WHOLE = "the estimator's own run"
_HEADER = (
    *("part", "parameters [M]", "weights [MiB]", "GFLOP", "ms (lowest to highest)", "share of time [%]"),
    *("host memory [MiB]", "device memory [MiB]"),
)
_REMARKS = (
    "GFLOP: matrix products, convolutions and attention, a multiplication and an addition being two; resizing and "
    "activations are not counted.",
    "Host memory: how far the process rose above what it held, when the part ran first. Device memory: the same of "
    "PyTorch's allocator, with the weights in the last row; the CUDA context comes on top.",
    "The last row computes the main head alone, as fast as it can; shares are of the parts above it.",
)


@dataclass
class Stage:
    """One part of the way.

    Attributes:
        call: does it, on inputs that lie ready.
        modules: hold its parameters.
        flop: floating-point operations of one call.
        host_bytes: rise of resident memory at its first call.
        device_bytes: rise of allocated device memory at its first call.
    """

    call: Callable[[], object]
    modules: list[nn.Module] = field(default_factory=list)
    flop: int = 0
    host_bytes: int = 0
    device_bytes: int = 0

    @property
    def parameters(self) -> list[Tensor]:
        """Its parameters and buffers."""
        return [tensor for module in self.modules for tensor in module.state_dict().values()]


class _LastResize(TorchFunctionMode):
    """Remembers the last interpolation to a size: what takes a head's own resolution to the picture's."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.call: Callable[[], Tensor] | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.interpolate and tuple(result.shape[-2:]) == self.size:
            self.call = partial(func, *args, **(kwargs or {}))
        return result


def network_of(estimator: DepthEstimator) -> DepthNetwork:
    """Returns the encoder and heads as an estimator runs them."""
    return estimator._network


@torch.no_grad()
def stages_of(
    network: DepthNetwork, image: np.ndarray, size: tuple[int, int], device: torch.device
) -> dict[str, Stage]:
    """Returns the parts of ``network`` with their inputs, each run for the first time and its memory noted."""
    names = tuple(network.heads)
    entered = torch.from_numpy(image)[None]
    stages = {"resize and normalise": Stage(partial(network.preprocess, entered))}
    pixels = _first(stages["resize and normalise"], device)
    stages["encoder"] = Stage(partial(network.encode, pixels, names, False), [network.encoder])
    features = _first(stages["encoder"], device).to(network.precision.heads)
    for name in names:
        stage = Stage(partial(network.heads[name], features, size), [network.heads[name]])
        with _LastResize(size) as resize:
            _first(stage, device)
        stages[name] = stage
        if resize.call is not None:
            stages[f"{name}: to the picture's size"] = Stage(resize.call)
            _first(stages[f"{name}: to the picture's size"], device)
    for stage in stages.values():
        stage.flop = flop(stage.call)
    return stages


def whole_of(estimator: DepthEstimator, image: np.ndarray) -> Stage:
    """Returns the estimator's own run, run for the first time."""
    run: list[Callable[[], object]] = []

    def first() -> object:
        run.append(from_host(estimator, [image]))
        return run[0]()

    stage = Stage(first, [estimator.encoder, next(iter(estimator.heads.values()))])
    _first(stage, estimator.device)
    if estimator.device.type == "cuda":
        stage.device_bytes = torch.cuda.max_memory_allocated(estimator.device)
    stage.call = run[0]
    return stage


def _first(stage: Stage, device: torch.device) -> Any:
    """Runs a stage for the first time; returns what it gives."""
    found: list[Any] = []
    before = 0
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    stage.host_bytes = peak_growth(lambda: found.append(stage.call()))
    if device.type == "cuda":
        stage.device_bytes = torch.cuda.max_memory_allocated(device) - before
    return found[0]


def flop(call: Callable[[], object]) -> int:
    """Returns the floating-point operations of a call, see :class:`torch.utils.flop_counter.FlopCounterMode`."""
    fast = torch.backends.mha.get_fastpath_enabled()
    # The counter knows no fused attention of every kind, but it knows the matrix products it is made of.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            call()
        return counter.get_total_flops()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def own_seconds(taken: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Returns each part's time without that of the part it contains: a head ends with its resize."""
    own = {name: list(values) for name, values in taken.items()}
    for name, values in taken.items():
        head, _, rest = name.partition(": ")
        if rest and head in own:
            own[head] = [max(0.0, whole - part) for whole, part in zip(taken[head], values)]
    return own


def shares(own: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Returns each part's share of the time of all, in per cent, round by round."""
    totals = [sum(values) for values in zip(*own.values())]
    return {name: [100 * value / total for value, total in zip(values, totals)] for name, values in own.items()}


def measure(arguments: argparse.Namespace) -> Outcome:
    """Counts, weighs and times the parts, and the estimator's own run beside them.

    Raises:
        BadInput: weights, device or an option that cannot be used.
    """
    size = parse_size(arguments.size, "--size")
    device = set_up(arguments)
    held = {"before loading": status_bytes("VmRSS")}
    weights = load_weights(arguments)
    held["after loading"] = status_bytes("VmRSS")
    estimator = estimator_of(weights, Choice(arguments.precision, arguments.acceleration), device)
    everything = _everything(estimator, picture(size), size)
    digits = 3 if device.type == "cuda" else 1
    with torch.no_grad():
        taken = take_turns(
            {name: stage.call for name, stage in everything.items()},
            arguments.rounds,
            str(device),
            repeats=arguments.repeats,
            warm_ups=3,
            digits=digits,
        )
    own = own_seconds(taken)
    part_of = shares({name: values for name, values in own.items() if name != WHOLE})
    parts = {name: _as_results(stage, own[name], part_of.get(name)) for name, stage in everything.items()}
    results = {
        "device": str(device),
        "weights": weights.name,
        "paths": estimator.path,
        "host_memory_bytes": held,
        "parts": parts,
    }
    rows = [_row(name, found, digits_of(taken), device) for name, found in parts.items()]
    path = "; ".join(estimator.path.values())
    title = f"Parts of the way to depth: {weights.name}, {size[0]}x{size[1]}, on {device} ({path})"
    shown = {name: [1e3 * value for value in values] for name, values in own.items()}
    return Outcome(title, results, [Table(_HEADER, rows)], partial(draw_bars, label="ms", values=shown), _REMARKS)


def _everything(estimator: DepthEstimator, image: np.ndarray, size: tuple[int, int]) -> dict[str, Stage]:
    """Returns the parts and, last, the whole; on a GPU the whole runs first, while nothing else lies there."""
    network = network_of(estimator)
    if estimator.device.type == "cuda":
        whole = whole_of(estimator, image)
        stages = stages_of(network, image, size, estimator.device)
    else:
        stages = stages_of(network, image, size, estimator.device)
        whole = whole_of(estimator, image)
    main = next(iter(estimator.heads))
    whole.flop = sum(stages[name].flop for name in ("encoder", main))
    return {**stages, WHOLE: whole}


def _as_results(stage: Stage, seconds: list[float], share: list[float] | None) -> dict[str, Any]:
    return {
        "parameters": sum(tensor.numel() for tensor in stage.parameters),
        "weight_bytes": sum(tensor.nbytes for tensor in stage.parameters),
        "flop": stage.flop,
        "host_bytes": stage.host_bytes,
        "device_bytes": stage.device_bytes,
        "seconds": seconds,
        "seconds_spread": Spread.of(seconds)._asdict(),
        "share_percent": share,
    }


def _row(name: str, found: Mapping[str, Any], digits: int, device: torch.device) -> list[str]:
    share = found["share_percent"]
    return [
        name,
        f"{found['parameters'] / 1e6:.2f}",
        f"{found['weight_bytes'] / MEBIBYTE:.1f}",
        f"{found['flop'] / 1e9:.2f}",
        Spread.of(found["seconds"]).text(digits, 1e3),
        "-" if share is None else Spread.of(share).text(1),
        f"{found['host_bytes'] / MEBIBYTE:.1f}",
        f"{found['device_bytes'] / MEBIBYTE:.1f}" if device.type == "cuda" else "-",
    ]
