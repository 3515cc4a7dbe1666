"""Parameters, FLOPs, memory and shares by part, against what is known by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from clip_depth_ros.benchmark.parts import WHOLE, flop, network_of, own_seconds, shares, stages_of
from clip_depth_ros.benchmark.ways import Choice, estimator_of
from clip_depth_ros.benchmark.weights import Weights, picture, tiny_network
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.memory import status_bytes

CPU = torch.device("cpu")
UPSAMPLING = "space_clip: to the picture's size"


@pytest.fixture
def estimator() -> DepthEstimator:
    encoder, head = tiny_network()
    weights = Weights("tiny", encoder, {"space_clip": head}, (64, 64))
    return estimator_of(weights, Choice("fp32", "eager"), CPU)


def test_flop_counts_a_multiplication_and_an_addition_as_two() -> None:
    linear = nn.Linear(5, 7)
    assert flop(lambda: linear(torch.zeros(3, 5))) == 2 * 3 * 5 * 7
    assert flop(lambda: F.interpolate(torch.zeros(1, 1, 4, 4), (8, 8))) == 0


def test_the_encoders_flop_are_a_transformers(estimator: DepthEstimator) -> None:
    """Patches, then 12 blocks of projections, attention (scores and sums) and MLP, over 16 patches and CLS."""
    tokens, width, hidden = 17, 32, 128
    patches = 2 * 16 * (3 * 16 * 16) * width
    block = 2 * tokens * width * (3 * width + width + 2 * hidden) + 2 * 2 * tokens * tokens * width
    stages = stages_of(network_of(estimator), picture((48, 80)), (48, 80), CPU)
    # The projection to the joint space comes with the pooled token: 32 to 24.
    assert stages["encoder"].flop - (patches + 12 * block) in (0, 2 * width * 24)


def test_the_parts_are_the_whole(estimator: DepthEstimator) -> None:
    image, size = picture((48, 80)), (48, 80)
    stages = stages_of(network_of(estimator), image, size, CPU)
    assert list(stages) == ["resize and normalise", "encoder", "space_clip", UPSAMPLING]
    with torch.no_grad():
        depth = stages["space_clip"].call().depth
        enlarged = stages[UPSAMPLING].call()
    exact = estimator(image, tokens=False)["space_clip"].depth
    assert torch.allclose(depth, exact, atol=1e-5)
    assert torch.allclose(enlarged[:, 0], exact, atol=1e-5)
    counts = {name: sum(tensor.numel() for tensor in stage.parameters) for name, stage in stages.items()}
    assert counts["encoder"] == sum(tensor.numel() for tensor in estimator.encoder.state_dict().values())
    assert counts["space_clip"] > 0
    assert counts["resize and normalise"] == counts[UPSAMPLING] == 0


def test_a_head_is_timed_without_the_resize_it_ends_with() -> None:
    taken = {"encoder": [3.0, 4.0], "head": [2.0, 1.0], "head: to the picture's size": [0.5, 0.25], WHOLE: [9.0, 9.0]}
    own = own_seconds(taken)
    assert own["head"] == [1.5, 0.75]
    assert own["encoder"] == [3.0, 4.0]
    part_of = shares({name: values for name, values in own.items() if name != WHOLE})
    assert part_of["encoder"] == [60.0, 80.0]
    assert part_of["head: to the picture's size"] == [10.0, 5.0]
    assert [sum(values) for values in zip(*part_of.values())] == [100.0, 100.0]


def rise_in_a_process_of_its_own(call: str) -> int:
    """Here, memory that the tests before gave back could be taken again without a rise."""
    script = "import numpy as np; from clip_depth_ros.memory import peak_growth; held = []; print(peak_growth(lambda: "
    done = subprocess.run([sys.executable, "-c", f"{script}{call}))"], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_memory_rises_by_what_is_held() -> None:
    assert 60 << 20 < rise_in_a_process_of_its_own("held.append(np.ones(64 << 20, np.uint8))") < 200 << 20
    assert status_bytes("VmRSS") > 1 << 20
    with pytest.raises(FileNotFoundError):
        status_bytes("VmRSS", 2**30)


def test_what_is_freed_again_was_needed_all_the_same() -> None:
    assert rise_in_a_process_of_its_own("bool(np.ones(64 << 20, np.uint8)[0])") > 60 << 20
