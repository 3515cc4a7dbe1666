"""MoA-DepthCLIP's head: the trunk it re-enters, its adapters, and its bins against an independent computation."""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import TINY, tiny_encoder, tiny_head
from torch.nn import functional

from clip_depth_ros.depth.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads import HEADS, moa_depth_clip
from clip_depth_ros.depth.heads.adapters import MixtureOfAdapters
from clip_depth_ros.depth.heads.moa_depth_clip import MoaDepthClipConfig, MoaDepthClipHead
from clip_depth_ros.errors import BadInput

SMALL = {"bottleneck": 4, "gate_hidden": 8, "context_width": 6, "bins": 16}


def tower(name: str, **vision: object) -> EncoderConfig:
    return replace(TINY, name=name, vision={**TINY.vision, **vision})


def fresh_head(encoder: SharedEncoder, **changes: object) -> MoaDepthClipHead:
    """A head as training starts it."""
    head = MoaDepthClipHead(MoaDepthClipConfig(encoder.config, **{**SMALL, **changes}))  # type: ignore[arg-type]
    head.copy_tuned_blocks(encoder)
    return head.eval()


def trained_head(encoder: SharedEncoder, seed: int = 0, **changes: object) -> MoaDepthClipHead:
    """A head whose adapters, tuned blocks, context and outputs are all something else than at the start."""
    torch.manual_seed(seed)
    head = fresh_head(encoder, **changes)
    with torch.no_grad():
        for adapter in head.adapters:
            adapter.up.weight.normal_(0, 0.3)
            adapter.up_bias.normal_(0, 0.3)
        for value in head.tuned.parameters():
            value.add_(torch.randn_like(value) * 0.05)
        head.context.normal_()
        head.classification.weight.normal_(0, 0.4)
    return head.requires_grad_(False)


def test_parameter_counts_are_the_papers() -> None:
    assert sum(value.numel() for value in MixtureOfAdapters(768, 4, 64, 128, 2.0).parameters()) == 495_492
    head = MoaDepthClipHead(MoaDepthClipConfig(EncoderConfig.from_open_clip("ViT-B-32")))
    assert sum(value.numel() for value in head.tuned.parameters()) == 28_351_488
    heads = (768 + 512 + 1) * (128 + 1)
    assert sum(value.numel() for value in head.parameters()) == 4 * 495_492 + 28_351_488 + heads
    assert head.layers == {3}
    assert not head.needs_pooled


def test_what_the_paper_leaves_open_can_be_set() -> None:
    encoder = tiny_encoder()
    pixels = torch.randn(2, 3, 64, 96)
    head = trained_head(encoder, adapt_class_token=False)
    features = encoder(pixels, head.layers)
    with torch.no_grad():
        (first, *_, last), gates = head.trunk(features)
        assert gates[0].shape[1] == features.grid[0] * features.grid[1]
        assert torch.equal(first[:, 0], features.hidden[head.entry][:, 0]), "the class token is left alone"
        assert not torch.allclose(first[:, 1:], features.hidden[head.entry][:, 1:])
        everything = trained_head(encoder)
        assert not torch.allclose(everything.trunk(features)[0][0][:, 0], first[:, 0])
        read_last = MoaDepthClipHead(replace(head.config, visual_states="last"))
        read_last.load_state_dict(head.state_dict())
        inputs = torch.cat([last[:, 1:], head.context.expand(2, features.grid[0] * features.grid[1], -1)], dim=-1)
        logits, _, _ = read_last.eval()._maps(features)
        torch.testing.assert_close(logits.flatten(1, 2), head.classification(inputs))
        assert not torch.allclose(head._maps(features)[0], logits)


def test_log_bins_have_equal_ratios() -> None:
    head = fresh_head(tiny_encoder(), bins=4, bin_spacing="log", bin_range=(0.1, 1000.0))
    torch.testing.assert_close(head.bin_centres(), torch.tensor([10**-0.5, 10**0.5, 10**1.5, 10**2.5]))
    for changes, said in (
        ({"bin_spacing": "log", "bin_range": (0.0, 5.0)}, "need a nearest above 0"),
        ({"bin_spacing": "wide"}, "'wide', but must be uniform or log"),
        ({"visual_states": "first"}, "'first', but must be mean or last"),
    ):
        with pytest.raises(BadInput, match=said):
            fresh_head(tiny_encoder(), **changes)


def test_a_module_is_its_formula() -> None:
    torch.manual_seed(0)
    module = MixtureOfAdapters(10, 3, 4, 5, 2.0)
    hidden = torch.randn(2, 7, 10)
    assert torch.equal(module(hidden)[0], hidden), "untrained it is the identity"
    torch.nn.init.normal_(module.up.weight)
    torch.nn.init.normal_(module.up_bias)
    torch.nn.init.normal_(module.down.bias)
    with torch.no_grad():
        first, _, second = module.gate
        gates = torch.softmax(second(torch.relu(first(hidden))) / 2.0, dim=-1)
        expected = hidden.clone()
        for expert in range(3):
            rows = slice(4 * expert, 4 * expert + 4)
            inner = functional.gelu(hidden @ module.down.weight[rows].T + module.down.bias[rows])
            output = inner @ module.up.weight[:, rows].T + module.up_bias[expert]
            expected += gates[..., expert, None] * output
        adapted, shares = module(hidden)
    torch.testing.assert_close(adapted, expected)
    torch.testing.assert_close(shares, gates)
    assert gates.std() > 0.01, "gates that are all alike would prove nothing"


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        replace(tower("scaled", ls_init_value=0.3, mlp_ratio=2), activation="gelu_tanh"),
        replace(tower("stem", stem="convolutional"), activation="gelu"),
        tower("custom", qk_norm=True, scale_fc=True),
        tower("deep", layers=24, width=16),
    ],
    ids=lambda config: config.name,
)
def test_an_untrained_head_is_the_trunk(config: EncoderConfig) -> None:
    torch.manual_seed(1)
    encoder = SharedEncoder(config)
    last = encoder.depth
    blocks = (5, 11, 17, 23) if last == 24 else (2, 5, 8, 11)
    head = fresh_head(encoder, adapter_blocks=blocks)
    assert head.layers == {blocks[0] + 1}
    features = encoder(torch.randn(2, 3, 64, 96), head.layers | {block + 1 for block in blocks})
    with torch.no_grad():
        states, _ = head.trunk(features)
    for block, state in zip(blocks, states):
        torch.testing.assert_close(state, features.hidden[block + 1], rtol=0, atol=1e-6)
    assert (features.hidden[last] - features.hidden[blocks[0] + 1]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("name", "size", "changes"),
    [
        ("vit_tiny_patch16_224", (48, 80), {"class_token": False}),  # as SigLIP
        ("vit_tiny_patch16_224", (48, 80), {"init_values": 0.2}),
        ("eva02_tiny_patch14_224", (224, 224), {}),  # rotary positions
    ],
)
def test_towers_of_timm_are_tuned_too(
    monkeypatch: pytest.MonkeyPatch, name: str, size: tuple[int, int], changes: dict
) -> None:
    import timm

    small = {"depth": 4, "embed_dim": 48, "num_heads": 3, "global_pool": "avg", **changes}
    monkeypatch.setattr(timm, "create_model", functools.partial(timm.create_model, **small))
    vision = {"image_size": 224, "timm_model_name": name, "timm_pool": "avg", "timm_proj": "linear"}
    torch.manual_seed(0)
    encoder = SharedEncoder(EncoderConfig(name, vision, 8, activation="gelu_tanh"))
    for value in encoder.parameters():
        value.add_(torch.randn_like(value) * 0.1)  # timm starts so small that blocks do nearly nothing
    head = fresh_head(encoder, adapter_blocks=(0, 3), tuned_blocks=2)
    features = encoder(torch.randn(1, 3, *size), {1, 4})
    with torch.no_grad():
        states, _ = head.trunk(features)
        depth = head(features, (20, 30)).depth
    torch.testing.assert_close(states[-1], features.hidden[4], rtol=0, atol=1e-5)
    assert (features.hidden[4] - features.hidden[1]).abs().max() > 0.5
    copied = MoaDepthClipHead.from_config_dict(json.loads(json.dumps(head.config_dict()))).eval()
    copied.load_state_dict(head.state_dict())
    with torch.no_grad():
        assert torch.equal(copied(features, (20, 30)).depth, depth)


def test_blocks_run_once_and_only_the_frozen_ones_by_reference() -> None:
    encoder = tiny_encoder()
    head = trained_head(encoder)
    calls: list[int] = []
    for index, block in enumerate(encoder.visual.get_submodule("transformer.resblocks").children()):
        block.register_forward_hook(lambda *_, index=index: calls.append(index))
    features = encoder(torch.randn(1, 3, 64, 64), head.layers)
    assert calls == [0, 1, 2]
    with torch.no_grad():
        head(features, (64, 64))
    assert calls == [0, 1, 2, 3, 4, 5, 6, 7]


def test_a_head_that_tunes_before_it_adapts_enters_at_its_first_own_block() -> None:
    encoder = tiny_encoder()
    head = fresh_head(encoder, adapter_blocks=(11,))
    assert head.layers == {8}
    features = encoder(torch.randn(1, 3, 64, 64), {8, 12})
    with torch.no_grad():
        torch.testing.assert_close(head.trunk(features)[0][0], features.hidden[12], rtol=0, atol=1e-6)
    whole = fresh_head(encoder, adapter_blocks=(5,), tuned_blocks=0)
    assert whole.layers == {6}
    assert not list(whole.tuned.parameters())


def test_tuned_blocks_are_copies_of_a_head_alone() -> None:
    encoder = tiny_encoder()
    identity = encoder.identity()
    head = trained_head(encoder)
    assert encoder.identity() == identity
    features = encoder(torch.randn(1, 3, 64, 64), head.layers)
    with torch.no_grad():
        before = head(features, (32, 32)).depth
        other = copy.deepcopy(head)
        for value in other.tuned.parameters():
            value.zero_()
        assert torch.equal(head(features, (32, 32)).depth, before)
        assert not torch.allclose(other(features, (32, 32)).depth, before, atol=1e-3)


def bilinear(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarges ``(h, w, ...)`` with pixel centres at halves, edges repeated."""
    for axis, new in enumerate(size):
        old = maps.shape[axis]
        place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, None)
        low = np.minimum(place.astype(int), old - 1)
        high = np.minimum(low + 1, old - 1)
        share = (place - low).reshape([-1 if axis == other else 1 for other in range(maps.ndim)])
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, high, axis) * share
    return maps


@pytest.mark.parametrize("values", [1, 5000, 1 << 19])
def test_depth_and_confidence_are_those_of_an_independent_computation(
    monkeypatch: pytest.MonkeyPatch, values: int
) -> None:
    monkeypatch.setattr(moa_depth_clip, "_CPU_VALUES", values)
    encoder = tiny_encoder()
    head = trained_head(encoder, bin_range=(0.5, 8.5), regression_weight=0.3, valid_range=(0.5, 8.0))
    features = encoder(torch.randn(2, 3, 64, 80), head.layers)
    size = (19, 45)
    with torch.no_grad():
        prediction = head(features, size)
        states, _ = head.trunk(features)
    patches = np.mean([state[:, 1:].double().numpy() for state in states], axis=0).reshape(2, 4, 5, 32)
    joined = np.concatenate([patches, np.broadcast_to(head.context.double().numpy(), (2, 4, 5, 6))], axis=-1)
    outputs = [
        joined @ part.weight.double().numpy().T + part.bias.double().numpy()
        for part in (head.classification, head.regression)
    ]
    centres = 0.5 + (np.arange(16) + 0.5) * 0.5  # 16 bins of half a metre
    np.testing.assert_allclose(head.bin_centres().numpy(), centres, rtol=1e-6)
    for index in range(2):
        logits, raw = (bilinear(output[index], size) for output in outputs)
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        classified = shares @ centres
        regressed = 8.5 / (1 + np.exp(-raw[..., 0]))
        entropy = -(shares * np.log(shares)).sum(-1)
        np.testing.assert_allclose(prediction.depth[index], 0.7 * classified + 0.3 * regressed, atol=1e-4)
        np.testing.assert_allclose(prediction.confidence[index], 1 - entropy / np.log(16), atol=1e-5)
    assert prediction.depth.dtype == prediction.confidence.dtype == torch.float32
    assert prediction.valid_range == (0.5, 8.0)
    assert prediction.depth.std() > 0.3
    assert prediction.confidence.std() > 0.05


def test_what_training_sees_is_what_the_node_computes() -> None:
    encoder = tiny_encoder()
    head = trained_head(encoder)
    features = encoder(torch.randn(1, 3, 64, 64), head.layers)
    with torch.no_grad():
        logits, regression, entropy = head.training_outputs(features, (24, 40))
        prediction = head(features, (24, 40))
    assert (logits.shape, regression.shape) == ((1, 16, 24, 40), (1, 24, 40))
    classified = torch.einsum("bkhw,k->bhw", logits.softmax(1), head.bin_centres())
    torch.testing.assert_close((classified + regression) / 2, prediction.depth, rtol=0, atol=1e-4)
    assert 0 < float(entropy) < 1


def test_gate_entropy_is_1_for_gates_that_are_all_alike() -> None:
    encoder = tiny_encoder()
    head = fresh_head(encoder)
    for adapter in head.adapters:
        torch.nn.init.zeros_(adapter.gate[2].weight)
        torch.nn.init.zeros_(adapter.gate[2].bias)
    features = encoder(torch.randn(1, 3, 64, 64), head.layers)
    assert float(head.training_outputs(features, (4, 4))[2]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_confidence_runs_from_0_to_1_and_nothing_overflows(scale: float) -> None:
    logits = torch.zeros(1, 2, 2, 8)
    logits[:, :, 0, 1] = scale  # the left patches are sure of bin 1, the right ones of bin 6
    logits[:, :, 1, 6] = scale
    depth, confidence = moa_depth_clip.bin_depth(logits, torch.arange(8) + 0.5, (6, 6))
    assert depth.isfinite().all()
    if scale == 0:
        torch.testing.assert_close(confidence, torch.zeros(1, 6, 6), rtol=0, atol=1e-6)
        torch.testing.assert_close(depth, torch.full((1, 6, 6), 4.0))
    if scale == 1e4:
        torch.testing.assert_close(confidence[..., 0], torch.ones(1, 6), rtol=0, atol=1e-3)
        torch.testing.assert_close(depth[..., (0, 5)], torch.tensor([[[1.5, 6.5]] * 6]))
    assert confidence.min() >= 0
    assert confidence.max() <= 1


def test_a_head_without_context_has_none() -> None:
    encoder = tiny_encoder()
    head = fresh_head(encoder, context_width=0)
    features = encoder(torch.randn(1, 3, 64, 64), head.layers)
    with torch.no_grad():
        assert head(features, (8, 8)).depth.isfinite().all()
    assert head.classification.in_features == 32


@pytest.mark.parametrize("tuned_blocks", [4, 0])
def test_a_head_without_adapters_reads_the_trunk_as_it_is(tuned_blocks: int, tmp_path: Path) -> None:
    encoder = tiny_encoder()
    head = fresh_head(encoder, experts=0, tuned_blocks=tuned_blocks)
    block = sum(value.numel() for value in encoder.visual.get_submodule("transformer.resblocks.8").parameters())
    outputs = (32 + 6 + 1) * (16 + 1)
    assert sum(value.numel() for value in head.parameters()) == tuned_blocks * block + outputs
    assert head.layers == {3}
    features = encoder(torch.randn(2, 3, 64, 80), head.layers | {6, 9, 12})
    with torch.no_grad():
        states, gates = head.trunk(features)
        logits, _, entropy = head.training_outputs(features, (4, 5))  # the patches' own size
        expected = head(features, (20, 30))
    for layer, state in zip((3, 6, 9, 12), states):
        torch.testing.assert_close(state, features.hidden[layer], rtol=0, atol=1e-6)
    assert (len(states), gates, entropy) == (4, [], None)
    mean = torch.stack([features.hidden[layer] for layer in (3, 6, 9, 12)]).mean(dim=0)[:, 1:]
    weight, bias = head.classification.weight.detach(), head.classification.bias.detach()
    by_hand = mean @ weight[:, :32].T + bias  # the context of a fresh head is 0
    torch.testing.assert_close(logits.flatten(2).transpose(1, 2), by_hand, rtol=0, atol=1e-5)
    file = tmp_path / "moa.safetensors"
    save_checkpoint(file, CheckpointMetadata("", encoder.config), head=head, encoder=encoder)
    again = load_checkpoint(file).build_head()
    assert isinstance(again, MoaDepthClipHead)
    assert again.config == head.config
    with torch.no_grad():
        got = again(features, (20, 30))
    assert torch.equal(got.depth, expected.depth)
    assert torch.equal(got.confidence, expected.confidence)
    assert expected.depth.std() > 0.01


@pytest.mark.parametrize("precision", ["bf16", "bf16_encoder", "fp16"])
def test_an_encoder_of_16_bits_gives_nearly_the_same_depth(precision: str) -> None:
    encoder = tiny_encoder()
    pictures = torch.randint(0, 256, (2, 48, 64, 3), dtype=torch.uint8)
    head = trained_head(encoder)
    expected = DepthEstimator(encoder, {"moa_depth_clip": head}, "cpu", "fp32")(pictures)["moa_depth_clip"]
    estimator = DepthEstimator(encoder, {"moa_depth_clip": head}, "cpu", precision)
    assert any(value.dtype != torch.float32 for value in estimator.encoder.parameters())
    prediction = estimator(pictures)["moa_depth_clip"]
    assert prediction.depth.dtype == prediction.confidence.dtype == torch.float32
    assert (prediction.depth - expected.depth).abs().mean() < 0.05
    assert (prediction.confidence - expected.confidence).abs().mean() < 0.02
    assert expected.depth.std() > 0.3


def test_a_second_head_on_the_same_encode_changes_nothing() -> None:
    encoder = tiny_encoder()
    pictures = torch.randint(0, 256, (2, 48, 64, 3), dtype=torch.uint8)
    moa, space = trained_head(encoder), tiny_head()
    both = DepthEstimator(encoder, {"space_clip": space, "moa_depth_clip": moa}, "cpu", "fp32")(pictures)
    for name, head in (("space_clip", space), ("moa_depth_clip", moa)):
        alone = DepthEstimator(encoder, {name: head}, "cpu", "fp32")(pictures)[name].depth
        assert torch.equal(alone, both[name].depth)


def test_a_checkpoint_holds_tuned_blocks_and_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(HEADS, "moa_depth_clip", MoaDepthClipHead)
    encoder = tiny_encoder()
    head = trained_head(encoder, prompts=("a photo of a kitchen",))
    file = tmp_path / "moa.safetensors"
    save_checkpoint(file, CheckpointMetadata("", encoder.config), head=head, encoder=encoder)
    loaded = load_checkpoint(file)
    again, tower = loaded.build_head(), loaded.build_encoder()
    assert isinstance(again, MoaDepthClipHead)
    assert tower is not None
    assert again.config == head.config
    assert torch.equal(again.context, head.context)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, got = head(encoder(image, head.layers), (30, 40)), again(tower(image, again.layers), (30, 40))
    assert torch.equal(got.depth, expected.depth)
    assert torch.equal(got.confidence, expected.confidence)


def test_configuration_survives_json() -> None:
    head = trained_head(tiny_encoder(), prompts=("a", "b"))
    again = MoaDepthClipHead.from_config_dict(json.loads(json.dumps(head.config_dict())))
    assert again.config == head.config
    assert again.state_dict().keys() == head.state_dict().keys()
    assert not any(value.is_meta for value in again.state_dict().values())
    with pytest.raises(BadInput, match="does not fit this version"):
        MoaDepthClipHead.from_config_dict({**head.config_dict(), "wings": 2})
    with pytest.raises(BadInput, match="does not fit this version"):
        MoaDepthClipHead.from_config_dict({"bins": 4})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adapter_blocks": (5, 2)}, "ascending block numbers"),
        ({"adapter_blocks": ()}, "ascending block numbers"),
        ({"adapter_blocks": (2, 2, 11)}, "ascending block numbers"),
        ({"adapter_blocks": (5, 11, 17, 23)}, "tiny has 12 blocks: the last adapter must be behind the last one, 11"),
        ({"adapter_blocks": (2, 5)}, "the last adapter must be behind the last one, 11"),
        ({"tuned_blocks": 13}, "set 0 to 12"),
        ({"tuned_blocks": -1}, "set 0 to 12"),
        ({"experts": -1}, "experts of MoA-DepthCLIP is -1"),
        ({"bins": 1}, "bins of MoA-DepthCLIP is 1"),
        ({"temperature": 0.0}, "temperature of MoA-DepthCLIP is 0.0"),
        ({"regression_weight": 1.5}, "regression_weight of MoA-DepthCLIP is 1.5"),
        ({"bin_range": (3.0, 2.0)}, "bin_range of MoA-DepthCLIP is 3.0 to 2.0"),
        ({"valid_range": (-1.0, 2.0)}, "valid_range of MoA-DepthCLIP"),
        ({"encoder": EncoderConfig.from_open_clip("RN50")}, "no vision transformer"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refusal:
        MoaDepthClipHead(MoaDepthClipConfig(**{"encoder": TINY, **SMALL, **changes}))
    assert str(refusal.value).count(". ") == 0, "one sentence"


def test_another_tower_is_refused() -> None:
    encoder = tiny_encoder()
    head = trained_head(encoder)
    wide = SharedEncoder(tower("wide", width=48))
    short = SharedEncoder(tower("short", layers=6))
    with pytest.raises(BadInput, match="do not fit"):
        head.copy_tuned_blocks(wide)
    with pytest.raises(BadInput, match="short has 6 blocks, but the head is for a tower of 12"):
        head.copy_tuned_blocks(short)
    for other, width in ((wide, 48), (short, 32)):
        features: EncoderFeatures = other(torch.randn(1, 3, 64, 64), head.layers)
        with pytest.raises(BadInput, match=f"{other.depth} blocks of width {width}"):
            head(features, (8, 8))
