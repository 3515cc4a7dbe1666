"""Early convolutions: open_clip's own forward pass runs them, and the rest of a tower does not notice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import TINY
from torch import nn

from clip_depth_ros.depth.checkpoint import ENCODER_ONLY, CheckpointMetadata, load_checkpoint, save_checkpoint
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.stems import CONVOLUTIONAL, Context, Residual, convolutional_stem
from clip_depth_ros.errors import BadInput

RESNET = EncoderConfig.from_open_clip("RN50")
CONFIG = replace(TINY, vision={**TINY.vision, "stem": CONVOLUTIONAL})


def encoder() -> SharedEncoder:
    torch.manual_seed(3)
    made = SharedEncoder(CONFIG)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return made


def test_one_token_a_patch_of_any_picture() -> None:
    stem = convolutional_stem(128, 16).eval()
    assert [layer.out_channels for layer in stem if isinstance(layer, nn.Conv2d)] == [24, 48, 96, 192, 128]
    assert stem(torch.randn(1, 3, 128, 96)).shape == (1, 128, 8, 6)
    assert stem(torch.randn(1, 3, 112, 80)).shape == (1, 128, 7, 5)  # halves to 4 x 3 within
    assert convolutional_stem(64, 8)(torch.randn(2, 3, 32, 32)).shape == (2, 64, 4, 4)


def test_residual_blocks_begin_as_the_identity() -> None:
    values = torch.rand(2, 8, 6, 6)
    block = Residual(8)
    assert torch.equal(block(values), values)
    block(values).sum().backward()
    assert float(block.body[-1].weight.grad.abs().max()) > 0


def test_every_token_knows_the_whole_picture() -> None:
    torch.manual_seed(1)
    context, values = Context(4, 6).eval(), torch.rand(1, 4, 16, 16)
    other = values.clone()
    other[..., -1, -1] += 5
    assert (context(other) - context(values))[0, :, 0, 0].abs().max() > 1e-5


def test_the_tower_agrees_with_open_clip_and_reads_other_sizes() -> None:
    made, image = encoder(), torch.randn(2, 3, 64, 64)
    features = made(image, range(13), pooled=True)
    assert features.embedding is not None
    with torch.no_grad():
        torch.testing.assert_close(features.embedding, made.visual(image), rtol=1e-4, atol=1e-4)
    assert (made.width, features.grid) == (32, (4, 4))
    assert made(torch.randn(1, 3, 96, 64), [0]).hidden[0].shape == (1, 25, 32)
    # The detail inside a patch: two pictures with the same mean in every patch are not the same.
    checks = torch.zeros(1, 3, 64, 64)
    checks[..., ::2, ::2] = 1
    assert (made(checks, [0]).hidden[0] - made(checks.roll(1, -1), [0]).hidden[0]).abs().max() > 1e-3


def test_statistics_are_part_of_the_identity_and_come_back_from_a_file(tmp_path: Path) -> None:
    made = encoder()
    save_checkpoint(tmp_path / "a.safetensors", CheckpointMetadata(ENCODER_ONLY, CONFIG), encoder=made)
    again = load_checkpoint(tmp_path / "a.safetensors").build_encoder()
    assert again is not None
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(again(image, [12]).hidden[12], made(image, [12]).hidden[12])
    assert again.identity() == made.identity()
    made.visual.get_buffer("conv1.1.running_mean").add_(1)
    assert again.identity() != made.identity()


@pytest.mark.parametrize(
    "config",
    [
        replace(TINY, vision={**TINY.vision, "stem": "conv"}),
        replace(TINY, vision={**TINY.vision, "stem": CONVOLUTIONAL, "patch_size": 12, "image_size": 48}),
        replace(
            EncoderConfig.from_open_clip("RN50"),
            vision={**EncoderConfig.from_open_clip("RN50").vision, "stem": CONVOLUTIONAL},
        ),
    ],
)
def test_what_has_no_stem_is_refused_in_one_sentence(config: EncoderConfig) -> None:
    with pytest.raises(BadInput, match="asks for the stem"):
        SharedEncoder(config)
