"""The types a network computes in, and what is folded away."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import TINY, tiny_encoder, tiny_head
from torch import nn

from clip_depth_ros.depth import precision as precision_module
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.heads.base import Exact
from clip_depth_ros.depth.precision import NarrowingLayerNorm, bf16_gain, fold_batch_norms, has_batch_norm
from clip_depth_ros.depth.precision import pick_precision as pick

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def lived_in(module: nn.Module) -> nn.Module:
    """Gives the batch norms statistics as training would, so that leaving one out is seen."""
    generator = torch.Generator().manual_seed(5)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.2, generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
            part.weight.data.uniform_(0.5, 2, generator=generator)
            part.bias.data.normal_(0, 0.2, generator=generator)
    return module.eval()


def test_folded_batch_norms_change_nothing() -> None:
    encoder, head = tiny_encoder(), lived_in(tiny_head())
    folded = copy.deepcopy(head)
    fold_batch_norms(folded)
    assert has_batch_norm(head)
    assert not has_batch_norm(folded)
    with torch.no_grad():
        features = encoder(torch.randn(2, 3, 64, 64), head.layers, pooled=True)
        expected, actual = (network(features, (64, 64)).depth for network in (head, folded))
        auxiliary = [network.training_outputs(features, (64, 64))[1] for network in (head, folded)]
    assert expected.std() > 0
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*auxiliary, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["RN50", "convolutional"])
def test_encoders_with_batch_norms_are_folded_too(name: str) -> None:
    if name == "RN50":
        encoder = SharedEncoder(EncoderConfig("r", {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}, 24))
        layer = 4
    else:
        vision = {**TINY.vision, "stem": "convolutional"}
        encoder, layer = SharedEncoder(EncoderConfig("c", vision, 24)), 3
    lived_in(encoder)
    folded = copy.deepcopy(encoder)
    fold_batch_norms(folded)
    assert not has_batch_norm(folded)
    pixels = torch.randn(1, 3, 64, 64)
    expected, actual = (network(pixels, [layer], pooled=True) for network in (encoder, folded))
    torch.testing.assert_close(actual.hidden[layer], expected.hidden[layer], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(actual.pooled, expected.pooled, rtol=1e-4, atol=1e-4)


def test_a_narrowed_encoder_keeps_its_running_sum_in_fp32() -> None:
    encoder, narrow = tiny_encoder(), tiny_encoder()
    narrow.narrow(torch.bfloat16)
    pixels = torch.randn(2, 3, 64, 64)
    layers = range(encoder.depth + 1)
    expected, actual = encoder(pixels, layers, pooled=True), narrow(pixels, layers, pooled=True)
    assert all(state.dtype == torch.float32 for state in actual.hidden.values())
    assert narrow.dtype == torch.float32
    assert narrow.visual.transformer.resblocks[0].mlp.c_fc.weight.dtype == torch.bfloat16
    torch.testing.assert_close(actual.hidden[0], expected.hidden[0], rtol=0, atol=0)
    # What the blocks add is rounded; that it is added to is not.
    whole = encoder_in_bf16(pixels, layers)
    ours, plain = (
        torch.stack([(features[layer].float() - expected.hidden[layer]).abs().mean() for layer in layers])
        for features in (actual.hidden, whole)
    )
    assert 0 < ours[-1] < 0.5 * plain[-1]


def encoder_in_bf16(pixels: torch.Tensor, layers: range) -> dict[int, torch.Tensor]:
    return dict(tiny_encoder().to(torch.bfloat16)(pixels.bfloat16(), layers).hidden)


def test_a_narrowed_block_is_that_of_autocast() -> None:
    """The independent computation: torch's own mixed precision of the unchanged encoder."""
    encoder, narrow = tiny_encoder(), tiny_encoder()
    narrow.narrow(torch.bfloat16)
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        state, grid = encoder.tower.embed(pixels)
        with torch.autocast("cpu", torch.bfloat16):
            expected = encoder.tower.block(0, state, grid)
        actual = narrow.tower.block(0, state, grid)
        exact = encoder.tower.block(0, state, grid)
    assert (actual - exact).abs().max() < 3 * (expected.float() - exact).abs().max() + 1e-3


@pytest.mark.parametrize(
    ("name", "vision"),
    [
        ("siglip", {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "map", "timm_proj": "none"}),
        ("eva", {"timm_model_name": "eva02_tiny_patch14_224", "timm_pool": "token", "timm_proj": "linear"}),
    ],
)
def test_timm_towers_can_be_narrowed(name: str, vision: dict) -> None:
    size = 224 if name == "eva" else 32  # rotary positions have one size
    config = EncoderConfig(name, {**vision, "image_size": size}, 192 if name == "siglip" else 24)
    torch.manual_seed(0)
    encoder = SharedEncoder(config)
    narrow = copy.deepcopy(encoder)
    narrow.narrow(torch.bfloat16)
    pixels = torch.randn(1, 3, size, size)
    expected, actual = (network(pixels, [0, 6, 12], pooled=True) for network in (encoder, narrow))
    assert torch.equal(actual.hidden[0], expected.hidden[0])
    error = (actual.hidden[12] - expected.hidden[12]).abs().mean() / expected.hidden[12].abs().mean()
    assert 0 < error < 0.02
    assert isinstance(narrow.visual.trunk.blocks[0].norm1, NarrowingLayerNorm)


def test_the_last_convolutions_of_space_clip_stay_in_fp32() -> None:
    head = tiny_head().narrow(torch.bfloat16)
    assert isinstance(head.depth_head, Exact)
    assert {value.dtype for value in head.depth_head.state_dict().values() if value.is_floating_point()} == {
        torch.float32
    }
    assert head.main_stages[0].semantic_gate.weight.dtype == torch.bfloat16
    half = tiny_head().narrow(torch.float16)
    assert not isinstance(half.depth_head, Exact)


def test_names() -> None:
    encoder = tiny_encoder()
    assert pick("auto", CUDA, encoder)[:2] == (torch.float16, torch.float16)
    assert pick("bf16", CPU, encoder)[:2] == (torch.bfloat16, torch.bfloat16)
    assert pick("bf16_encoder", CPU, encoder)[:2] == (torch.bfloat16, torch.float32)
    assert pick("fp32", CUDA, encoder) == (torch.float32, torch.float32, "fp32")


@pytest.mark.parametrize(("gain", "expected"), [(1.29, torch.float32), (1.3, torch.bfloat16), (0.1, torch.float32)])
def test_auto_on_a_cpu_goes_by_what_is_measured(
    gain: float, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_module, "bf16_gain", lambda encoder: gain)
    chosen = pick("auto", CPU, tiny_encoder())
    assert chosen[:2] == (expected, expected)
    assert f"{gain:.2f} times" in chosen.reason


def test_the_gain_is_measured_and_leaves_the_encoder_alone() -> None:
    encoder = tiny_encoder()
    before = encoder.identity()
    assert 0.001 < bf16_gain(encoder, rounds=2) < 1000
    assert encoder.identity() == before
    assert encoder.visual.transformer.resblocks[0].mlp.c_fc.weight.dtype == torch.float32


def test_a_resnet_and_an_encoder_of_other_types_are_not_measured() -> None:
    resnet = SharedEncoder(EncoderConfig("r", {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}, 24))
    assert pick("auto", CPU, resnet)[:2] == (torch.float32, torch.float32)
