"""Plain PyTorch with transformers' encoder gives the depth this project gives: a ratio of speeds means something."""

from __future__ import annotations

import pytest
import torch
from networks import TINY, tiny_encoder, tiny_head
from torch import nn

from clip_depth_ros.benchmark.reference import PlainNetwork, hugging_face_tensors
from clip_depth_ros.benchmark.weights import picture
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads.depth_blip2 import DepthBlip2Config, DepthBlip2Head
from clip_depth_ros.depth.heads.moa_depth_clip import MoaDepthClipConfig, MoaDepthClipHead
from clip_depth_ros.depth.heads.qformer import QFormerConfig
from clip_depth_ros.depth.loading import load_network
from clip_depth_ros.errors import BadInput
from clip_depth_ros.resources import resolve

pytest.importorskip("transformers", reason="needs transformers: pip install 'clip_depth_ros[benchmark]'")
WITHIN = 1e-4  # relative


def close(found: torch.Tensor, exact: torch.Tensor) -> bool:
    return bool(((found - exact).abs().max() / exact.abs().max()) < WITHIN)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "gelu_tanh"])
def test_its_features_are_the_encoders(activation: str) -> None:
    torch.manual_seed(0)
    encoder = SharedEncoder(EncoderConfig("tiny", TINY.vision, 24, activation))
    with torch.no_grad():  # random weights leave norms and biases at 1 and 0, which would hide a mix-up
        for tensor in encoder.visual.state_dict().values():
            if tensor.ndim == 1:
                tensor.add_(0.1 * torch.randn_like(tensor))
    plain = PlainNetwork(encoder, tiny_head(), TINY, (64, 64))
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = encoder(pixels, range(13), pooled=True), plain.encoder(pixels)
    assert theirs.grid == ours.grid == (4, 4)
    assert set(theirs.hidden) == set(ours.hidden) == set(range(13))
    assert all(close(theirs.hidden[layer], ours.hidden[layer]) for layer in range(13))
    assert not close(theirs.hidden[12], ours.hidden[11])
    assert close(theirs.pooled, ours.pooled)
    assert theirs.prefix_tokens == ours.prefix_tokens


@pytest.mark.parametrize("size", [(64, 64), (96, 128)])
def test_its_depth_is_the_estimators(size: tuple[int, int]) -> None:
    plain = PlainNetwork(tiny_encoder(), tiny_head(), TINY, size)
    estimator = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu", "fp32", input_size=size)
    images = torch.from_numpy(picture(size))[None]  # no resize: that differs in rounding
    exact = estimator(images, output_size=(48, 80))["space_clip"].depth
    assert exact.std() > 0.01
    assert close(plain(plain.pixels(images), (48, 80)), exact)


def test_the_demo_network_too() -> None:
    """Its stem is convolutions and its blocks scale their branches: Hugging Face's model has neither."""
    config = EstimatorConfig.from_yaml("package://clip_depth_ros/config/demo.yaml")
    if not resolve(config.weights[0]).is_file():
        pytest.skip("models/demo has not been made yet")
    network = load_network(config)
    assert any("ls_1.gamma" in name for name in network.encoder.vision_tensors())
    side = network.encoder.config.image_size
    plain = PlainNetwork(network.encoder, network.heads["space_clip"], network.encoder.config, side)
    images = torch.from_numpy(picture(side))[None]
    pixels = plain.pixels(images)
    with torch.no_grad():
        ours = network.encoder(pixels, range(13), pooled=True)
        theirs = plain.encoder(pixels)
        exact = network.heads["space_clip"].eval()(ours, (48, 64)).depth
    assert all(close(theirs.hidden[layer], ours.hidden[layer]) for layer in range(13))
    assert exact.std() > 0.01
    assert close(plain(pixels, (48, 64)), exact)


def test_from_host_is_what_the_estimator_gives_within_the_resizes_rounding() -> None:
    plain = PlainNetwork(tiny_encoder(), tiny_head(), TINY, (64, 64))
    estimator = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu", "fp32")
    image = picture((90, 120))
    found = plain.from_host(image)
    exact = estimator(image)["space_clip"].depth[0].numpy()
    assert found.shape == (90, 120)
    assert abs(found - exact).max() < 0.01 * exact.max()


def test_it_is_plain_and_leaves_the_weights_alone() -> None:
    encoder, head = tiny_encoder(), tiny_head()
    before = {name: tensor.clone() for name, tensor in encoder.visual.state_dict().items()}
    plain = PlainNetwork(encoder, head, TINY, (64, 64))
    assert {parameter.dtype for parameter in plain.parameters()} == {torch.float32}
    assert any(isinstance(module, nn.BatchNorm2d) for module in plain.head.modules())
    convolutions = [module.weight for module in plain.head.modules() if isinstance(module, nn.Conv2d)]
    assert all(weight.is_contiguous() for weight in convolutions)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    assert all((tensor == before[name]).all() for name, tensor in encoder.visual.state_dict().items())
    assert any(parameter.any() for parameter in head.parameters())


def test_names_take_queries_keys_and_values_apart_and_fold_the_scales() -> None:
    joined = torch.arange(12.0)
    tensors = {
        "transformer.resblocks.3.attn.in_proj_bias": joined,
        "transformer.resblocks.3.mlp.c_proj.weight": torch.ones(4, 8),
        "transformer.resblocks.3.mlp.c_proj.bias": torch.ones(4),
        "transformer.resblocks.3.ls_2.gamma": torch.tensor([1.0, 2.0, 3.0, 4.0]),
        "proj": torch.ones(4, 2),
    }
    found = hugging_face_tensors(tensors)
    layer = "encoder.layers.3"
    assert set(found) == {
        *(f"{layer}.self_attn.{letter}_proj.bias" for letter in "qkv"),
        f"{layer}.mlp.fc2.weight",
        f"{layer}.mlp.fc2.bias",
    }
    assert found[f"{layer}.self_attn.k_proj.bias"].tolist() == [4, 5, 6, 7]
    assert found[f"{layer}.mlp.fc2.bias"].tolist() == [1, 2, 3, 4]
    assert found[f"{layer}.mlp.fc2.weight"][2].tolist() == [3.0] * 8


def test_depth_blip2_behind_it() -> None:
    sizes = QFormerConfig(width=24, layers=4, heads=2, hidden=32, queries=4, image_width=32)
    torch.manual_seed(0)
    head = DepthBlip2Head(DepthBlip2Config(layer=2, map_size=(2, 4, 3), qformer=sizes)).eval()
    encoder = tiny_encoder()
    plain = PlainNetwork(encoder, head, TINY, (64, 64))
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        exact = head(encoder(pixels, head.layers), (20, 30)).depth
    assert close(plain(pixels, (20, 30)), exact)


def test_what_cannot_be_written_so_is_said() -> None:
    encoder = tiny_encoder()
    with pytest.raises(BadInput, match=r"not for moa_depth_clip: give --no-reference"):
        PlainNetwork(encoder, MoaDepthClipHead(MoaDepthClipConfig(encoder=encoder.config)), TINY, (64, 64))
    config = EncoderConfig("RN", {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}, 128)
    with pytest.raises(BadInput, match=r"Encoder RN is no .*CLIP ViT.*--no-reference"):
        PlainNetwork(SharedEncoder(config), tiny_head(), config, (64, 64))
    slow_fast = EncoderConfig("wide", {**TINY.vision, "image_size": [64, 96]}, 24)
    with pytest.raises(BadInput, match="square"):
        PlainNetwork(SharedEncoder(slow_fast), tiny_head(), slow_fast, (64, 96))
