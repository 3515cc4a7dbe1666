"""The ways that are compared: which there are, that each gives the network's depth, and what is made of their times."""

from __future__ import annotations

import argparse
import math

import numpy as np
import pytest
import torch

from clip_depth_ros.benchmark.reference import PlainNetwork
from clip_depth_ros.benchmark.ways import (
    Choice,
    choices,
    compare,
    errors,
    estimator_of,
    from_host,
    network_alone,
)
from clip_depth_ros.benchmark.weights import Weights, picture, tiny_network
from clip_depth_ros.depth.acceleration import Eager
from clip_depth_ros.depth.config import ACCELERATIONS, PRECISIONS
from clip_depth_ros.depth.encoder_config import OPENAI_MEAN
from clip_depth_ros.hardware import cpu_features, hardware

CPU = torch.device("cpu")
FP32 = Choice("fp32", "eager")


@pytest.fixture
def weights() -> Weights:
    encoder, head = tiny_network()
    return Weights("tiny", encoder, {"space_clip": head}, (64, 64))


def asked(precision=None, acceleration=None) -> argparse.Namespace:
    return argparse.Namespace(precision=precision, acceleration=acceleration, rounds=2, repeats=1)


def test_all_that_the_machine_has_is_compared() -> None:
    for device in (CPU, torch.device("cuda")):
        found = choices(asked(), device)
        assert found[0] == Choice("auto", "auto")
        assert len(set(found)) == len(found)
        assert {choice.precision for choice in found} <= set(PRECISIONS)
        assert {choice.acceleration for choice in found} <= set(ACCELERATIONS)
        assert Choice("fp32", "eager") in found
    assert {choice.precision for choice in found} == set(PRECISIONS)
    assert {choice.acceleration for choice in found} == set(ACCELERATIONS)
    has_bf16 = any("bf16" in feature for feature in hardware()["cpu features"].split())
    assert (Choice("bf16", "eager") in choices(asked(), CPU)) == has_bf16


def test_what_is_asked_for_is_compared_alone() -> None:
    assert choices(asked(["fp32", "bf16"], ["eager"]), CPU) == [("fp32", "eager"), ("bf16", "eager")]
    assert choices(asked(["fp16"]), CPU) == [("fp16", "auto")]
    assert choices(asked(None, ["compile"]), CPU) == [("auto", "compile")]
    assert str(Choice()) == "auto"
    assert str(FP32) == "fp32 eager"


def test_cpu_features_are_those_that_matter() -> None:
    flags = ["fpu", "avx2", "amx_bf16", "avx512_bf16x"]
    assert cpu_features(flags) == ["avx2", "amx_bf16"]


def test_random_weights_give_depth_that_varies(weights: Weights) -> None:
    estimator = estimator_of(weights, FP32, CPU)
    depth = estimator(picture((64, 64)))["space_clip"].depth
    assert depth.mean() == pytest.approx(2.0, abs=0.05)
    assert depth.std() == pytest.approx(0.5, abs=0.05)


def test_the_network_alone_is_the_estimators_network(weights: Weights) -> None:
    estimator = estimator_of(weights, FP32, CPU)
    images = torch.from_numpy(np.stack([picture((64, 64), seed) for seed in range(2)]))
    depth = network_alone(estimator, images, (48, 80))()
    assert depth.shape == (2, 48, 80)
    assert depth.std() > 0.01
    assert depth.min() >= 0
    plain = PlainNetwork(weights.encoder, weights.heads["space_clip"], weights.encoder.config, (64, 64))
    assert torch.allclose(plain(plain.pixels(images), (48, 80)), depth, rtol=1e-4, atol=1e-5)


def test_what_is_made_ready_is_what_runs(weights: Weights) -> None:
    """A plan that is prepared and another that runs would time the eager network under a faster one's name."""
    prepared, run = [], []

    class Recorder(Eager):
        def prepare(self, plan):
            prepared.append(plan)
            super().prepare(plan)

        def __call__(self, plan, images, scales):
            run.append(plan)
            return super().__call__(plan, images, scales)

    estimator = estimator_of(weights, FP32, CPU)
    estimator._runner = Recorder(estimator._network, CPU)
    network_alone(estimator, torch.zeros(3, 64, 64, 3, dtype=torch.uint8), (48, 80))()
    from_host(estimator, [picture((30, 40))] * 2)()
    assert prepared == run
    assert len(run) == 2


def test_from_host_gives_each_pictures_own_depth(weights: Weights) -> None:
    estimator = estimator_of(weights, FP32, CPU)
    pictures = [picture((90, 120), seed) for seed in range(3)]
    depths = from_host(estimator, pictures)()
    assert len(depths) == 3
    for image, depth in zip(pictures, depths):
        assert depth.dtype == np.float32
        assert depth.shape == (90, 120)
        assert np.allclose(depth, estimator(image)["space_clip"].depth[0].numpy(), rtol=1e-4, atol=1e-5)
    assert abs(depths[0] - depths[1]).max() > 1e-3


def test_estimators_share_nothing(weights: Weights) -> None:
    before = {name: tensor.clone() for name, tensor in weights.encoder.visual.state_dict().items()}
    narrow = estimator_of(weights, Choice("bf16", "eager"), CPU)
    assert "bf16" in narrow.path["precision"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights.encoder.visual.state_dict().items())
    assert {parameter.dtype for parameter in weights.heads["space_clip"].parameters()} == {torch.float32}
    assert weights.normalised.mean == OPENAI_MEAN


def test_errors_are_relative_and_in_per_cent() -> None:
    exact = np.full((1, 10, 10), 2.0)
    exact[0, 0, 1] = 0.0  # not seen: nothing is relative to zero
    depth = exact.copy()
    depth[0, 0, 0] = 3.0
    found = errors(depth, exact)
    assert found["p50"] == 0
    assert found["max"] == pytest.approx(50)
    assert 0 <= found["p99"] < 50
    assert all(math.isnan(value) for value in errors(depth, np.zeros((1, 10, 10))).values())


def test_ratios_are_of_the_same_rounds() -> None:
    ways = {"slow": lambda: np.full(4, 2.0), "fast": lambda: np.full(4, 2.02)}
    found = compare(ways, lambda depth: depth, lambda: {"fast": {"precision": "fp32"}}, asked(), CPU)
    assert {name: len(values) for name, values in found.seconds.items()} == {"slow": 2, "fast": 2}
    assert found.ratios["slow"] == [1.0, 1.0]
    assert found.ratios["fast"] == [
        slow / fast for slow, fast in zip(found.seconds["slow"], found.seconds["fast"], strict=True)
    ]
    assert found.errors["fast"]["p99"] == pytest.approx(1.0)
    rows = found.table(rates=True).rows
    assert [row[0] for row in rows] == ["slow", "fast"]
    assert rows[1][-1] == "fp32"
    assert rows[0][-1] == "-"
