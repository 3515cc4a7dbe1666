"""DepthBLIP-2's head: maps, distances and confidence by hand, adaptive distances, and what it refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import tiny_encoder

from clip_depth_ros.depth import heads
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from clip_depth_ros.depth.encoder import EncoderFeatures
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads.base import DepthPrediction
from clip_depth_ros.depth.heads.depth_blip2 import (
    BINS,
    PROMPTS,
    TOKEN_IDS,
    DepthBlip2Config,
    DepthBlip2Head,
    bin_network,
    flip_averaged,
)
from clip_depth_ros.depth.heads.qformer import QFormerConfig, layer_norm
from clip_depth_ros.depth.masking import readings
from clip_depth_ros.errors import BadInput

SIZES = QFormerConfig(width=24, layers=3, heads=2, hidden=32, queries=4, image_width=32, vocabulary=30, positions=8)
TINY = DepthBlip2Config(
    layer=11,
    prompts=("near", "not so near", "far"),
    token_ids=((1, 5, 2), (1, 6, 7, 5, 2), (1, 8, 2)),
    bins=(0.5, 2.0, 5.0),
    map_size=(2, 4, 3),
    temperature=0.1,
    qformer=SIZES,
)


def small_head(seed: int = 0, **changes: object) -> DepthBlip2Head:
    """A head whose every parameter has a value of its own, so that prompts and places differ."""
    torch.manual_seed(seed)
    head = DepthBlip2Head(replace(TINY, **changes))
    for name, value in head.named_parameters():
        if name.startswith("bins."):
            torch.nn.init.normal_(value, 0.0, 0.15)
        else:
            torch.nn.init.normal_(value, 0.0 if value.ndim > 1 else 1.0, 0.5)
    return head.requires_grad_(False).eval()


def features(batch: int = 2, layer: int = 11) -> EncoderFeatures:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(batch, 17, 32, generator=generator)
    return EncoderFeatures({layer: hidden}, (4, 4), 1, pooled=torch.randn(batch, 32, generator=generator))


def test_the_published_prompts_have_the_published_lengths() -> None:
    config = DepthBlip2Config()
    assert [len(ids) for ids in config.token_ids] == [6, 7, 6, 8, 8, 6, 6]
    assert {ids[0] for ids in TOKEN_IDS} == {101}
    assert {ids[-1] for ids in TOKEN_IDS} == {102}
    assert PROMPTS[3] == "this object is not in distance"
    assert TOKEN_IDS[3][4:-1] == (2025, 1999, 3292)
    # The same word is the same token wherever it stands.
    assert TOKEN_IDS[1][5] == TOKEN_IDS[2][4]
    assert config.bins == BINS == (1, 1.75, 2.25, 2.5, 2.75, 3, 3.5)


@pytest.mark.parametrize(
    ("layout", "channel"), [("v1", lambda h, w, j: 3 * (16 * h + w) + j), ("v2", lambda h, w, j: 256 * j + 16 * h + w)]
)
def test_layouts_fold_as_published(layout: str, channel) -> None:
    head = DepthBlip2Head(
        DepthBlip2Config(layout=layout, qformer=QFormerConfig(layers=1, hidden=8, vocabulary=30000, image_width=8))
    )
    maps = head.fold(torch.arange(768.0)[None, None])
    assert maps.shape == (1, 1, 3, 16, 16)
    for h, w, j in ((0, 0, 0), (0, 1, 0), (1, 0, 2), (15, 15, 2), (7, 3, 1)):
        assert maps[0, 0, j, h, w] == channel(h, w, j)


@pytest.mark.parametrize("layout", ["v1", "v2"])
def test_kitti_maps_are_the_same_in_both_layouts(layout: str) -> None:
    sizes = QFormerConfig(layers=1, hidden=8, vocabulary=30000, image_width=8)
    head = DepthBlip2Head(DepthBlip2Config(map_size=(16, 48, 1), layout=layout, qformer=sizes))
    maps = head.fold(torch.arange(768.0)[None, None])
    assert maps.shape == (1, 1, 1, 16, 48)
    assert maps[0, 0, 0, 5, 7] == 48 * 5 + 7


@pytest.mark.parametrize("layout", ["v1", "v2"])
@torch.no_grad()
def test_depth_and_confidence_are_the_formulas(layout: str) -> None:
    head, seen = small_head(layout=layout), features()
    prediction = head(seen, (2, 4))  # the map's own size: nothing is interpolated
    tokens = layer_norm(head.ln_vision, seen.hidden[11])
    queries = head.qformer(tokens, head.token_ids, head.token_mask)
    assert queries.shape == (2, 3, 4, 24)
    means = np.mean(queries.double().numpy(), axis=2)
    for image in range(2):
        for h in range(2):
            for w in range(4):
                where = [3 * (4 * h + w) + j if layout == "v1" else 8 * j + 4 * h + w for j in range(3)]
                powers = np.exp([means[image, k, where].max() / 0.1 for k in range(3)])
                weights = powers / powers.sum()
                assert prediction.depth[image, h, w] == pytest.approx(weights @ [0.5, 2.0, 5.0], rel=1e-5)
                entropy = -(weights * np.log(weights)).sum() / math.log(3)
                assert prediction.confidence is not None
                assert prediction.confidence[image, h, w] == pytest.approx(1 - entropy, abs=1e-5)
    assert prediction.depth.std() > 0.05
    assert (prediction.depth[0] - prediction.depth[1]).abs().max() > 0.05
    assert prediction.valid_range == (0.5, 5.0)


@torch.no_grad()
def test_maps_are_enlarged_with_aligned_corners() -> None:
    head, seen = small_head(), features()
    coarse, fine = head(seen, (2, 4)).depth, head(seen, (9, 19)).depth
    assert fine.shape == (2, 9, 19)
    assert fine.dtype == torch.float32
    torch.testing.assert_close(fine[:, [0, 0, -1, -1], [0, -1, 0, -1]], coarse[:, [0, 0, -1, -1], [0, -1, 0, -1]])
    torch.testing.assert_close(fine[:, ::8, ::6], coarse)
    torch.testing.assert_close(fine[:, 4, 0], coarse[:, :, 0].mean(1))


@torch.no_grad()
def test_certain_and_uncertain_places() -> None:
    sure, seen = small_head(temperature=1e-4), features()
    prediction = sure(seen, (31, 47))
    assert prediction.confidence is not None
    assert prediction.confidence.median() > 0.99
    # A place that is surely at the nearest or farthest distance is a reading, whatever rounding does.
    assert prediction.depth.min() == 0.5
    assert prediction.depth.max() == 5.0
    assert np.isfinite(readings(prediction.depth.numpy(), prediction.valid_range)).all()
    unsure = small_head(temperature=1e6)(seen, (8, 8))
    assert unsure.confidence is not None
    assert unsure.confidence.max() < 1e-4
    torch.testing.assert_close(unsure.depth, torch.full((2, 8, 8), 2.5), rtol=1e-4, atol=0)


def test_the_published_mlp_has_its_keys_and_size() -> None:
    network = bin_network(7)
    assert sum(value.numel() for value in network.parameters()) == 83_463
    assert list(network.state_dict()) == [
        f"{key}.{kind}" for key in (0, 2, 4, 7, 10, 12) for kind in ("weight", "bias")
    ]
    assert [value.shape[0] for name, value in network.state_dict().items() if "bias" in name] == [
        64,
        128,
        256,
        128,
        64,
        7,
    ]
    drops = [index for index, module in enumerate(network) if isinstance(module, torch.nn.Dropout)]
    assert drops == [6, 9]
    assert {network[index].p for index in drops} == {0.5}


@torch.no_grad()
def test_adaptive_distances_are_the_formula() -> None:
    head, seen = small_head(adaptive="published"), features()
    assert not head.needs_pooled
    value = np.array([0.5, 2.0, 5.0])
    state = {name: tensor.double().numpy() for name, tensor in head.bins.state_dict().items()}
    for key in (0, 2, 4, 7, 10, 12):
        value = state[f"{key}.weight"] @ value + state[f"{key}.bias"]
        value = value if key == 12 else np.maximum(value, 0)
    expected = 0.5 + (1 / (1 + np.exp(-value))) ** 2 * 4.5
    found = head.distances(seen)
    assert found.shape == (1, 3)
    assert found[0].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert found.std() > 0.01
    weights = head.prompt_weights(seen)
    torch.testing.assert_close(head(seen, (2, 4)).depth, (weights * found[0, :, None, None]).sum(1))


@torch.no_grad()
def test_distances_can_follow_the_image() -> None:
    head, seen = small_head(adaptive="image"), features()
    assert head.needs_pooled
    assert head.bins[0].in_features == 3 + 32
    found = head.distances(seen)
    assert found.shape == (2, 3)
    assert (found[0] - found[1]).abs().max() > 1e-3
    assert float(found.min()) >= 0.5
    assert float(found.max()) <= 5.0
    changed = replace(seen, pooled=seen.pooled.flip(0))
    torch.testing.assert_close(head.distances(changed), found.flip(0))
    assert head(seen, (8, 8)).depth.shape == (2, 8, 8)


@torch.no_grad()
def test_the_estimator_runs_it_in_every_precision() -> None:
    encoder, head = tiny_encoder(), small_head(adaptive="image")
    images = np.random.default_rng(0).integers(0, 255, (2, 48, 80, 3), np.uint8)
    exact = DepthEstimator(encoder, {"depth_blip2": head}, "cpu", "fp32")(images)["depth_blip2"]
    assert exact.depth.shape == (2, 48, 80)
    assert exact.depth.std() > 0.01
    rounded = DepthEstimator(tiny_encoder(), {"depth_blip2": small_head(adaptive="image")}, "cpu", "bf16")(images)
    assert 0 < (rounded["depth_blip2"].depth - exact.depth).abs().max() < 0.2
    half = small_head(adaptive="image").half()
    seen = tiny_encoder()(torch.randn(2, 3, 64, 64), half.layers, pooled=True)
    depth = half(seen.to(torch.float16), (48, 80)).depth
    assert depth.dtype == torch.float32
    assert 0 < (depth - head(seen, (48, 80)).depth).abs().max() < 0.1


def test_distances_do_not_round_with_the_weights() -> None:
    bins = (0.1, 1.7, 9.3)
    found = small_head(bins=bins).half().distances(features())
    assert found.dtype == torch.float32
    assert found[0].tolist() == pytest.approx(bins, rel=1e-7)


@torch.no_grad()
def test_flip_averaging_encodes_both_pictures_at_once() -> None:
    encoder, head, calls = tiny_encoder(), small_head(), []

    def encode(pixels: torch.Tensor) -> EncoderFeatures:
        calls.append(len(pixels))
        return encoder(pixels, head.layers)

    pixels = torch.randn(3, 3, 64, 64)
    prediction = flip_averaged(encode, head, pixels, (20, 30))
    assert calls == [6]
    upright = head(encoder(pixels, head.layers), (20, 30))
    mirrored = head(encoder(pixels.flip(-1), head.layers), (20, 30))
    torch.testing.assert_close(prediction.depth, (upright.depth + mirrored.depth.flip(-1)) / 2)
    assert prediction.confidence is not None
    torch.testing.assert_close(prediction.confidence, (upright.confidence + mirrored.confidence.flip(-1)) / 2)
    assert prediction.valid_range == upright.valid_range
    assert (mirrored.depth.flip(-1) - upright.depth).abs().max() > 1e-2


@pytest.mark.parametrize("adaptive", ["fixed", "published", "image"])
def test_a_checkpoint_gives_the_same_depth(adaptive: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(heads.HEADS, "depth_blip2", DepthBlip2Head)
    head, encoder, file = small_head(adaptive=adaptive), tiny_encoder(), tmp_path / "head.safetensors"
    save_checkpoint(file, CheckpointMetadata(method="depth_blip2", encoder=encoder.config), head, encoder)
    read = load_checkpoint(file).build_head()
    assert isinstance(read, DepthBlip2Head)
    assert read.config == head.config
    with torch.no_grad():
        assert torch.equal(read(features(), (9, 9)).depth, head(features(), (9, 9)).depth)


def test_configuration_survives_json_and_old_ones_are_refused() -> None:
    head = small_head(valid_range=(0.6, 4.0))
    copied = DepthBlip2Head.from_config_dict(json.loads(json.dumps(head.config_dict())))
    assert copied.config == head.config
    assert copied.config.range_m == (0.6, 4.0)
    for bad in ({"wings": 2}, {"qformer": {"wings": 2}}, {"qformer": 3}):
        with pytest.raises(BadInput, match="does not fit this version"):
            DepthBlip2Head.from_config_dict(bad)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bins": (1.0, 2.0)}, "3 prompts .* but 2 bins: give one distance"),
        ({"prompts": ("near", "far")}, "2 prompts .* but 3 bins"),
        ({"token_ids": ((1, 2), (1, 2))}, "2 of them as token ids"),
        ({"bins": (2.0, 2.0, 2.0)}, "two different distances"),
        ({"bins": (-1.0, 2.0, 3.0)}, "two different distances"),
        ({"token_ids": ((1, 2), (1, 2), (1, 99))}, "from 0 to 29"),
        ({"token_ids": ((1, 2), (1, 2), ())}, "at least one"),
        ({"token_ids": ((1, 2), (1, 2), (1,) * 9)}, "longer than the 8 tokens"),
        ({"map_size": (4, 4, 3)}, "4 x 4 x 3 does not fold from a Q-Former of width 24"),
        ({"layout": "v3"}, "must be v1 or v2"),
        ({"adaptive": "yes"}, "must be one of fixed, published, image"),
        ({"temperature": 0.0}, "above 0"),
        ({"valid_range": (3.0, 1.0)}, "valid range"),
    ],
)
def test_settings_that_make_no_sense_are_one_sentence(change: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said) as error:
        replace(TINY, **change)
    assert "\n" not in str(error.value)


def test_a_tower_of_another_width_is_refused() -> None:
    narrow = EncoderFeatures({11: torch.randn(1, 17, 16)}, (4, 4), 1)
    with pytest.raises(BadInput, match="32 wide, but the encoder's are 16 wide"):
        small_head()(narrow, (8, 8))


def test_distances_and_temperature_are_set_in_the_node_s_yaml(tmp_path: Path) -> None:
    file = tmp_path / "both.safetensors"
    save_checkpoint(file, CheckpointMetadata("depth_blip2", tiny_encoder().config), small_head(), tiny_encoder())
    image = np.random.default_rng(2).integers(0, 255, (48, 80, 3), np.uint8)

    def found(options: str) -> DepthPrediction:
        text = f"/**: {{ros__parameters: {{heads: [depth_blip2], weights: [{file}], depth_blip2: {{{options}}}}}}}"
        (tmp_path / "node.yaml").write_text(text)
        return DepthEstimator.from_config(tmp_path / "node.yaml", "cpu")(image)["depth_blip2"]

    stored = found("temperature: 0.0")
    assert stored.valid_range == (0.5, 5.0)
    doubled = found("bins: [1.0, 4.0, 10.0]")
    assert doubled.valid_range == (1.0, 10.0)
    torch.testing.assert_close(doubled.depth, 2 * stored.depth)
    assert found("temperature: 1000.0").depth.numpy() == pytest.approx(2.5, abs=0.01)  # the mean: no prompt wins
    with pytest.raises(BadInput, match=r"3 prompts .* but 2 bins"):
        found("bins: [1.0, 4.0]")
    with pytest.raises(BadInput, match=r"depth_blip2\.bins is \[1\.0\]: give at least two"):
        found("bins: [1.0]")


def test_learnt_distances_are_not_overwritten() -> None:
    with pytest.raises(BadInput, match="come from an MLP that was trained"):
        small_head(adaptive="published").with_options(bins=(1.0, 2.0, 3.0))
    assert small_head(adaptive="published").with_options(temperature=2.0).config.temperature == 2.0
