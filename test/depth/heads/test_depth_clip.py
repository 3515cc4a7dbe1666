"""DepthCLIP against plain arithmetic and open_clip's own towers, and from CLIP weights alone."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import TINY, tiny_encoder, tiny_head
from open_clip.modified_resnet import AttentionPool2d
from safetensors.torch import load_file, save_file
from tiny_open_clip import RESNET, VIT, register, register_tag, save_model
from torch import Tensor

from clip_depth_ros.depth.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads import HEADS
from clip_depth_ros.depth.heads.depth_clip import DepthClipConfig, DepthClipHead
from clip_depth_ros.depth.loading import load_network
from clip_depth_ros.depth.prompts import embed_prompts_open_clip
from clip_depth_ros.errors import BadInput

BINS = (1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0)
CLASSES = DepthClipConfig().classes


def resnet_encoder() -> SharedEncoder:
    """A ResNet of CLIP's kind, 256 channels wide with an embedding of 128."""
    torch.manual_seed(0)
    encoder = SharedEncoder(EncoderConfig("tiny-resnet", RESNET["vision_cfg"], RESNET["embed_dim"]))
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return encoder


def pixels(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def random_prompts(width: int, count: int = 7) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(2))


def features_of(patches: Tensor, grid: tuple[int, int], layer: int = 4) -> EncoderFeatures:
    """Patch features ``(B, N, E)`` that are in the joint space as they are, behind one CLS token."""
    hidden = torch.cat([torch.full_like(patches[:, :1], 9.0), patches], dim=1)
    return EncoderFeatures({layer: hidden}, grid, 1, project=lambda value: value[:, 1:])


def by_hand(patches: np.ndarray, prompts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth and confidence ``(B, N)`` of patch features that have their length already, in float64."""
    prompts = prompts / np.linalg.norm(prompts, axis=1, keepdims=True)
    logits = 100 * np.einsum("bne,ke->bnk", patches, prompts) / 0.1
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    entropy = -(weights * np.log(np.maximum(weights, 1e-300))).sum(axis=2)
    return weights @ np.array(BINS), 1 - entropy / np.log(7)


def of_length_one(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=2, keepdims=True)


def numpy64(value: Tensor) -> np.ndarray:
    return value.detach().double().numpy()


def check_head(encoder: SharedEncoder, variant: str, image: Tensor, patches: np.ndarray) -> None:
    """Compares the head on ``image`` with plain arithmetic on the patch features it should have used."""
    config = DepthClipConfig.for_encoder(encoder, variant=variant)
    # Patches of a random tower are all alike, and unlike any random word: let the words be near some of them.
    prompts = torch.from_numpy(patches.reshape(-1, config.embed_dim)[:7]).float()
    head = DepthClipHead.from_prompts(config, prompts)
    features = encoder(image, head.layers)
    with torch.no_grad():
        prediction = head(features, features.grid)  # one pixel a patch: nothing is interpolated
    depth, confidence = by_hand(patches, numpy64(prompts))
    assert depth.std() > 0.05, "a constant output would prove nothing"
    np.testing.assert_allclose(prediction.depth.flatten(1), depth, rtol=0, atol=5e-4)
    np.testing.assert_allclose(prediction.confidence.flatten(1), confidence, rtol=0, atol=5e-4)


def test_a_patch_that_is_a_prompt_is_at_its_distance() -> None:
    head = DepthClipHead.from_prompts(DepthClipConfig(embed_dim=7), 3 * torch.eye(7))
    patches = torch.cat([5 * torch.eye(7), torch.ones(1, 7)])[None]
    prediction = head(features_of(patches, (2, 4)), (2, 4))
    # The last patch is as near to every word: the mean of all bins, and no confidence.
    expected = torch.tensor([[[1.0, 1.5, 2.0, 2.25], [2.5, 2.75, 3.0, 15 / 7]]])
    torch.testing.assert_close(prediction.depth, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        prediction.confidence, torch.tensor([[[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]]]), rtol=0, atol=1e-6
    )
    assert prediction.valid_range == (1.0, 3.0)
    assert prediction.depth.dtype == prediction.confidence.dtype == torch.float32


def test_two_words_blend_as_the_softmax_says() -> None:
    config = DepthClipConfig(embed_dim=2, classes=("near", "far"), bins=(1.0, 4.0), temperature=50.0)
    head = DepthClipHead.from_prompts(config, torch.eye(2))
    # Cosines 0.8 and 0.6: logits 1.6 and 1.2, so "near" weighs 1 / (1 + exp(-0.4)).
    prediction = head(features_of(torch.tensor([[[8.0, 6.0]]]), (1, 1)), (1, 1))
    near = 1 / (1 + np.exp(-0.4))
    entropy = -near * np.log(near) - (1 - near) * np.log(1 - near)
    assert prediction.depth.item() == pytest.approx(near + 4 * (1 - near), abs=1e-6)
    assert prediction.confidence.item() == pytest.approx(1 - entropy / np.log(2), abs=1e-6)


def test_the_map_is_upsampled_between_the_centres_of_the_corner_pixels() -> None:
    head = DepthClipHead.from_prompts(DepthClipConfig(embed_dim=7), torch.eye(7))
    prediction = head(features_of(torch.eye(7)[[0, 2, 4, 6]][None], (2, 2)), (3, 5))
    rows = torch.tensor([[1.0, 1.25, 1.5, 1.75, 2.0], [1.75, 2.0, 2.25, 2.5, 2.5], [2.5, 2.625, 2.75, 2.875, 3.0]])
    rows[1] = (rows[0] + rows[2]) / 2
    torch.testing.assert_close(prediction.depth[0], rows, rtol=0, atol=1e-6)


def test_attnpool_is_the_value_and_output_projection_of_each_patch() -> None:
    encoder = resnet_encoder()
    image = 30 * pixels(96, 64, batch=2)  # strong, so that the projections' biases do not make all patches alike
    pool = encoder.visual.attnpool
    with torch.no_grad():
        stage = encoder.visual.layer3(encoder.visual.layer2(encoder.visual.layer1(encoder.visual.stem(image))))
        stage = encoder.visual.layer4(stage)
    tokens = numpy64(stage).reshape(2, 256, 6).transpose(0, 2, 1)
    weights = {name: numpy64(value) for name, value in pool.state_dict().items()}
    values = tokens @ weights["v_proj.weight"].T + weights["v_proj.bias"]
    joint = values @ weights["c_proj.weight"].T + weights["c_proj.bias"]
    check_head(encoder, "attnpool", image, of_length_one(joint))
    # open_clip's own pool says the same of a picture that is one patch, where nothing else can be attended to.
    alone = AttentionPool2d(1, 256, pool.num_heads, 128)
    alone.load_state_dict({**pool.state_dict(), "positional_embedding": torch.zeros(2, 256)})
    features = encoder(image, {4})
    with torch.no_grad():
        single = alone(features.hidden[4].reshape(12, 256, 1, 1))
        projected = features.project(features.hidden[4])
    torch.testing.assert_close(projected.flatten(0, 1), single, rtol=1e-4, atol=1e-5)


def test_released_is_every_other_channel_of_the_last_stage() -> None:
    encoder = resnet_encoder()
    image = pixels(64, 96, batch=2)
    with torch.no_grad():
        stage = encoder.visual.forward_intermediates(image, indices=[4], intermediates_only=True)
    tokens = numpy64(stage["image_intermediates"][0]).reshape(2, 256, 6).transpose(0, 2, 1)
    check_head(encoder, "released", image, of_length_one(tokens)[:, :, ::2])


def test_a_vits_tokens_go_through_its_last_norm_and_projection() -> None:
    encoder = tiny_encoder()
    image = pixels(64, 64, batch=2)
    encoder.visual.output_tokens = True
    with torch.no_grad():
        _, tokens = encoder.visual(image)
    encoder.visual.output_tokens = False
    check_head(encoder, "tokens", image, of_length_one(numpy64(tokens) @ numpy64(encoder.visual.proj)))


def test_eva_projects_its_tokens_and_siglip_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    monkeypatch.setattr(timm, "create_model", functools.partial(timm.create_model, depth=1))
    encoder = SharedEncoder.from_open_clip("EVA02-B-16")
    features = encoder(pixels(224, 224), {1}, pooled=True)
    # Where the class token is pooled, it goes the way of the patches: put it in the place of one.
    swapped = torch.cat([features.hidden[1][:, :1], features.hidden[1][:, :1], features.hidden[1][:, 2:]], dim=1)
    with torch.no_grad():
        projected = features.project(swapped)
    assert projected.shape == (1, 196, 512)
    torch.testing.assert_close(projected[:, 0], features.embedding, rtol=1e-4, atol=1e-5)
    siglip = SharedEncoder.from_open_clip("ViT-B-16-SigLIP")
    assert siglip(pixels(224, 224), {1}).project is None
    with pytest.raises(BadInput, match="ViT-B-16-SigLIP has no projection of its patches"):
        DepthClipConfig.for_encoder(siglip)


@pytest.mark.parametrize(("encoder", "layer"), [(tiny_encoder, 12), (resnet_encoder, 4)])
def test_nothing_is_projected_before_a_head_asks(encoder: Callable[[], SharedEncoder], layer: int) -> None:
    network = encoder()
    calls: list[int] = []
    original = network.tower.project_patches
    network.tower.project_patches = lambda hidden: (calls.append(1), original(hidden))[1]  # type: ignore[method-assign]
    features = network(pixels(64, 64), {layer}, pooled=True).part(slice(0, 1)).to(torch.float32)
    assert calls == []
    features.project(features.hidden[layer])
    assert calls == [1]


def test_words_and_bins_in_another_order_give_the_same_depth() -> None:
    prompts, patches = random_prompts(32), torch.randn(1, 12, 32, generator=torch.Generator().manual_seed(3))
    order = [3, 0, 6, 1, 5, 2, 4]
    plain = DepthClipConfig(embed_dim=32, temperature=3.0)
    mixed = replace(plain, classes=tuple(CLASSES[i] for i in order), bins=tuple(BINS[i] for i in order))
    features = features_of(patches, (3, 4))
    expected = DepthClipHead.from_prompts(plain, prompts)(features, (30, 40))
    answer = DepthClipHead.from_prompts(mixed, prompts[order])(features, (30, 40))
    assert expected.depth.std() > 0.05
    torch.testing.assert_close(answer.depth, expected.depth, rtol=0, atol=1e-5)
    torch.testing.assert_close(answer.confidence, expected.confidence, rtol=0, atol=1e-5)
    assert answer.valid_range == (1.0, 3.0)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 0.02), (torch.bfloat16, 0.1)])
def test_half_precision_heads_stay_near(dtype: torch.dtype, bound: float) -> None:
    # Cosines as CLIP has them: all prompts alike, so that the scale of 1000 decides between small differences.
    common = torch.randn(1, 1024, generator=torch.Generator().manual_seed(4))
    prompts = common + 0.3 * random_prompts(1024)
    patches = 0.3 * common + torch.randn(1, 221, 1024, generator=torch.Generator().manual_seed(5))
    head = DepthClipHead.from_prompts(DepthClipConfig(), prompts)
    features = features_of(patches, (13, 17))
    exact = head(features, (13, 17))
    rounded = head.to(dtype)(features.to(dtype), (13, 17))
    assert exact.depth.std() > 0.2
    assert rounded.depth.dtype == torch.float32
    error = (rounded.depth - exact.depth).abs()
    assert 0 < error.max() < bound


@pytest.mark.parametrize(("encoder", "variant"), [(tiny_encoder, "tokens"), (resnet_encoder, "attnpool")])
def test_a_head_in_fp32_reads_an_encoder_in_bf16(encoder: Callable[[], SharedEncoder], variant: str) -> None:
    images = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), dtype=np.uint8)
    network = encoder()
    config = DepthClipConfig.for_encoder(network, variant=variant, temperature=10.0)
    head = DepthClipHead.from_prompts(config, random_prompts(network.config.embed_dim))
    exact = DepthEstimator(network, {"depth_clip": head}, "cpu", "fp32")(images)["depth_clip"].depth
    rounded = DepthEstimator(network, {"depth_clip": head}, "cpu", "bf16_encoder")(images)["depth_clip"].depth
    assert head.prompts.dtype == rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < 0.05


def test_depth_and_confidence_stay_in_their_ranges() -> None:
    generator = torch.Generator().manual_seed(6)
    bins = (0.3, 0.7, 3.3)
    for temperature in (1e-3, 0.1, 10.0, 1e3):
        config = DepthClipConfig(embed_dim=8, classes=("a", "b", "c"), bins=bins, temperature=temperature)
        head = DepthClipHead.from_prompts(config, torch.randn(3, 8, generator=generator))
        patches = torch.randn(2, 400, 8, generator=generator)
        patches[0, 0] = 0  # a patch of nothing at all
        prediction = head(features_of(patches, (20, 20)), (37, 53))
        assert prediction.depth.isfinite().all()
        # Not a hair beyond the range: what is beyond is masked by the node.
        assert (prediction.depth >= prediction.valid_range[0]).all()
        assert (prediction.depth <= prediction.valid_range[1]).all()
        assert prediction.confidence is not None
        assert (prediction.confidence >= 0).all()
        assert (prediction.confidence <= 1).all()
        assert prediction.depth.shape == prediction.confidence.shape == (2, 37, 53)


def test_full_size_resnet_reads_the_nyu_crop() -> None:
    encoder = SharedEncoder.from_open_clip("RN50")
    image = pixels(416, 544)
    for variant in ("attnpool", "released"):
        config = DepthClipConfig.for_encoder(encoder, variant=variant)
        assert (config.layer, config.embed_dim) == (4, 1024)
        head = DepthClipHead.from_prompts(config, random_prompts(1024))
        assert head.layers == {4}
        assert not head.needs_pooled
        features = encoder(image, head.layers)
        assert features.grid == (13, 17)
        assert head(features, (416, 544)).depth.shape == (1, 416, 544)


def test_a_stored_head_brings_its_prompts(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    config = DepthClipConfig.for_encoder(encoder, classes=("near", "far"), bins=(0.5, 5.0), template="{class}")
    head = DepthClipHead.from_prompts(config, random_prompts(24, 2))
    path = tmp_path / "depth_clip.safetensors"
    save_checkpoint(path, CheckpointMetadata(method="depth_clip", encoder=TINY), head, encoder)
    assert load_file(path)["head.prompts"].shape == (2, 24)
    checkpoint = load_checkpoint(path)
    assert checkpoint.metadata.head["valid_range"] == [0.5, 5.0]
    loaded = DepthClipHead.from_config_dict(json.loads(json.dumps(head.config_dict())))
    assert loaded.config == config
    loaded.load_state_dict(dict(checkpoint.head))
    features = encoder(pixels(64, 64), head.layers)
    assert torch.equal(loaded(features, (64, 64)).depth, head(features, (64, 64)).depth)
    with pytest.raises(BadInput, match="does not fit this version"):
        DepthClipHead.from_config_dict({"wings": 2})


def test_the_note_is_one_sentence_that_says_how_coarse_it_is() -> None:
    note = DepthClipHead(DepthClipConfig(classes=("near", "far"), bins=(4.0, 0.5))).note
    assert "2 distances from 0.5 to 4 m" in note
    assert "39 % off" in note
    assert note.count(". ") == 0
    assert note.endswith(".")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": (1.0, 2.0)}, r"7 class words \(depth_clip.classes\) and 2 distances \(depth_clip.bins\)"),
        ({"classes": ("a", "b")}, "2 class words .* and 7 distances"),
        ({"classes": ("far",), "bins": (1.0,)}, "give at least two distances"),
        ({"bins": (1.0, 1.5, 2.0, 2.25, 2.5, 2.75, -3.0)}, "above 0 and up to 1000"),
        ({"bins": (1.0, 1.5, 2.0, 2.25, 2.5, 2.75, float("nan"))}, "above 0 and up to 1000"),
        ({"temperature": 0.0}, "depth_clip.temperature is 0.0: it must be from 0.001 to 1000"),
        ({"template": "an object"}, "no place for the class word"),
        ({"classes": ("a", "b", "", "d", "e", "f", "g")}, "leave a prompt empty"),
        ({"variant": "wings"}, "depth_clip.variant is 'wings': it must be one of attnpool, released, tokens"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        DepthClipConfig(**options)


def test_prompt_features_that_do_not_fit() -> None:
    config = DepthClipConfig(embed_dim=24)
    with pytest.raises(BadInput, match=r"7 class words, and prompt features of shape \(6, 24\)"):
        DepthClipHead.from_prompts(config, random_prompts(24, 6))
    with pytest.raises(BadInput, match="are 32 wide and the encoder's embedding is 24"):
        DepthClipHead.from_prompts(config, random_prompts(32))
    with pytest.raises(BadInput, match="zero or not finite"):
        DepthClipHead.from_prompts(config, torch.zeros(7, 24))


def test_variants_and_towers_that_do_not_fit() -> None:
    vit, resnet = tiny_encoder(), resnet_encoder()
    for variant in ("released", "attnpool"):
        with pytest.raises(
            BadInput, match=rf"{variant} does not exist on encoder tiny, a vision transformer: set .* tokens"
        ):
            DepthClipConfig.for_encoder(vit, variant=variant)
    with pytest.raises(
        BadInput, match=r"tokens does not exist on encoder tiny-resnet, a ResNet: set .* attnpool or released"
    ):
        DepthClipConfig.for_encoder(resnet, variant="tokens")
    narrow = SharedEncoder(EncoderConfig("narrow", RESNET["vision_cfg"], 64))
    with pytest.raises(BadInput, match="narrow has 256 for an embedding of 64: use variant attnpool"):
        DepthClipConfig.for_encoder(narrow, variant="released")
    with pytest.raises(BadInput, match="hidden state 4 and an embedding of 128, and encoder narrow has 4 and 64"):
        DepthClipConfig.for_encoder(resnet).check_encoder(narrow)
    bare = tiny_encoder()
    tensors = bare.vision_tensors()
    del tensors["proj"]
    bare.load_vision(tensors, "a bare vision model")
    with pytest.raises(BadInput, match="tiny has no projection of its patches"):
        DepthClipConfig.for_encoder(bare)
    # Who builds an estimator by hand hears of it too.
    head = DepthClipHead.from_prompts(DepthClipConfig.for_encoder(vit), random_prompts(24))
    with pytest.raises(BadInput, match="the encoder has no projection"):
        head(bare(pixels(64, 64), {12}), (64, 64))
    other = DepthClipHead.from_prompts(DepthClipConfig(layer=12, embed_dim=32, variant="tokens"), random_prompts(32))
    with pytest.raises(BadInput, match="made for patch features 32 wide, and the encoder gives 24"):
        other(vit(pixels(64, 64), {12}), (64, 64))


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The head by its name, and small open_clip models."""
    monkeypatch.setitem(HEADS, "depth_clip", DepthClipHead)
    register(monkeypatch, "tiny-vit", VIT)
    register(monkeypatch, "tiny-resnet", RESNET)


def alone(model: str, weights: object, **options: object) -> EstimatorConfig:
    """CLIP's weights and nothing else."""
    return EstimatorConfig(
        ("depth_clip",),
        (),
        model,
        str(weights),
        device="cpu",
        precision="fp32",
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("model", "variant", "chosen"),
    [("tiny-resnet", "", "attnpool"), ("tiny-resnet", "released", "released"), ("tiny-vit", "", "tokens")],
)
def test_depth_from_clip_weights_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, variant: str, chosen: str
) -> None:
    weights = save_model(tmp_path / "clip.safetensors", model)
    register_tag(monkeypatch, model, "stored", file=str(weights))
    options = {"depth_clip_temperature": 5.0, "depth_clip_variant": variant}
    # A user's file and a tag that open_clip has are the same weights, so the same network.
    encoder, heads, focal, _ = load_network(alone(model, weights, **options))
    tagged, tagged_heads, *_ = load_network(alone(model, "stored", **options))
    assert focal == {}
    assert encoder.identity() == tagged.identity()
    head, other = heads["depth_clip"], tagged_heads["depth_clip"]
    assert isinstance(head, DepthClipHead)
    assert head.config.variant == chosen
    assert head.config.prompts[5] == "This object is far"
    features = embed_prompts_open_clip(model, str(weights), head.config.prompts)
    torch.testing.assert_close(head.prompts, features)
    torch.testing.assert_close(other.prompts, features)
    estimator = DepthEstimator(encoder, heads, "cpu", "fp32")
    images = np.random.default_rng(0).integers(0, 255, (2, 90, 120, 3), dtype=np.uint8)
    result = estimator(images)["depth_clip"]
    expected = head(encoder(estimator._preprocess(torch.from_numpy(images)), head.layers), (90, 120))
    assert result.depth.shape == (2, 90, 120)
    assert result.depth.std() > 0
    torch.testing.assert_close(result.depth, expected.depth)


@pytest.mark.usefixtures("known")
def test_ablations_run_from_yaml(tmp_path: Path) -> None:
    weights = save_model(tmp_path / "clip.safetensors", "tiny-vit")
    file = tmp_path / "node.yaml"
    file.write_text(
        f"/**:\n  ros__parameters:\n    heads: [depth_clip]\n    weights: ['']\n"
        f"    encoder: {{model: tiny-vit, weights: {weights}}}\n"
        "    depth_clip:\n      template: 'The wall is {class}'\n      classes: [near, far]\n      bins: [1, 6.5]\n"
        "      temperature: 0.5\n      variant: tokens\n"
    )
    _, heads, *_ = load_network(EstimatorConfig.from_yaml(file))
    head = heads["depth_clip"]
    assert isinstance(head, DepthClipHead)
    expected = DepthClipConfig(3, 24, "tokens", "The wall is {class}", ("near", "far"), (1.0, 6.5), 0.5)
    assert head.config == expected
    torch.testing.assert_close(
        head.prompts, embed_prompts_open_clip("tiny-vit", str(weights), ("The wall is near", "The wall is far"))
    )


@pytest.mark.usefixtures("known")
def test_zero_shot_depth_beside_a_trained_head(tmp_path: Path) -> None:
    """A head's file, and the whole CLIP model that its encoder came from."""
    weights = save_model(tmp_path / "clip.safetensors", "tiny-vit")
    encoder = SharedEncoder.from_open_clip("tiny-vit", str(weights))
    trained = tiny_head(semantic_layers=(3, 3, 2, 1), structural_layers=(2, 1, 0))
    path = tmp_path / "space_clip.safetensors"
    save_checkpoint(path, CheckpointMetadata("space_clip", TINY), trained, encoder)
    for model in ("tiny-vit", ""):
        config = replace(alone(model, weights), heads=("space_clip", "depth_clip"), weights=(str(path),))
        shared, heads, *_ = load_network(config)
        assert list(heads) == ["space_clip", "depth_clip"]
        assert shared.identity() == encoder.identity()
        estimator = DepthEstimator(shared, heads, "cpu", "fp32")
        result = estimator(np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), dtype=np.uint8))
        assert result["space_clip"].depth.shape == result["depth_clip"].depth.shape == (1, 64, 64)
    other = save_model(tmp_path / "other.safetensors", "tiny-vit", seed=5)
    with pytest.raises(BadInput, match=r"Head space_clip .* was trained on encoder tiny-vit"):
        load_network(replace(config, encoder_weights=str(other)))


@pytest.mark.usefixtures("known")
def test_a_stored_head_needs_no_text_tower_and_takes_other_bins(tmp_path: Path) -> None:
    encoder = tiny_encoder()
    config = DepthClipConfig.for_encoder(encoder, classes=("near", "far"), bins=(0.5, 5.0))
    path = tmp_path / "both.safetensors"
    head = DepthClipHead.from_prompts(config, random_prompts(24, 2))
    save_checkpoint(path, CheckpointMetadata("depth_clip", TINY), head, encoder)
    plain = EstimatorConfig(("depth_clip",), (str(path),), device="cpu")
    stored = load_network(plain)[1]["depth_clip"]
    assert isinstance(stored, DepthClipHead)
    assert stored.config == config
    assert torch.equal(stored.prompts, head.prompts)
    changed = replace(plain, depth_clip_bins=(1.0, 9.0), depth_clip_temperature=2.0, depth_clip_classes=("near", "far"))
    assert load_network(changed)[1]["depth_clip"].config == replace(config, bins=(1.0, 9.0), temperature=2.0)
    with pytest.raises(BadInput, match=r"2 class words .* and 3 distances"):
        load_network(replace(plain, depth_clip_bins=(1.0, 2.0, 3.0)))
    for options, message in (
        ({"depth_clip_classes": ("here", "there")}, r"depth_clip.classes is \('here', 'there'\), and the checkpoint"),
        ({"depth_clip_template": "a {class} wall"}, "depth_clip.template is 'a {class} wall', and the checkpoint"),
        ({"depth_clip_variant": "attnpool"}, "attnpool does not exist on encoder tiny"),
    ):
        with pytest.raises(BadInput, match=message):
            load_network(replace(plain, **options))


@pytest.mark.usefixtures("known")
def test_what_is_missing_for_zero_shot_depth_is_said(tmp_path: Path) -> None:
    weights = save_model(tmp_path / "clip.safetensors", "tiny-vit")
    with pytest.raises(BadInput, match=r"Head depth_clip is in none .* set encoder.model and encoder.weights"):
        load_network(alone("tiny-vit", ""))
    with pytest.raises(BadInput, match=r"'openai', and nothing says of which model: set encoder.model"):
        load_network(alone("", "openai"))
    image = {name: value for name, value in load_file(weights).items() if name.startswith("visual.")}
    save_file(image, tmp_path / "image.safetensors")
    with pytest.raises(BadInput, match=r"image.safetensors holds no text tower"):
        load_network(alone("tiny-vit", tmp_path / "image.safetensors"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("classes", "far", "depth_clip.classes in node.yaml must be a list of strings"),
        ("classes", [1, 2], "depth_clip.classes in node.yaml must be a list of strings"),
        ("bins", 3.0, "depth_clip.bins in node.yaml must be a list of numbers"),
        ("bins", [1.0, True], "depth_clip.bins in node.yaml must be a list of numbers"),
        ("bins", [1.0, -2.0], "above 0 and up to 1000"),
        ("temperature", "0.1", "depth_clip.temperature in node.yaml must be a number"),
        ("temperature", -0.1, "depth_clip.temperature is -0.1"),
        ("template", ["{class}"], "depth_clip.template in node.yaml must be a string"),
        ("template", "far", "no place for the class word"),
        ("variant", "best", "must be one of attnpool, released, tokens"),
    ],
)
def test_parameters_of_the_wrong_kind(name: str, value: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        EstimatorConfig.from_parameters({f"depth_clip.{name}": value}, "node.yaml")


def test_parameters_left_empty_are_the_heads_own() -> None:
    empty = {"classes": [""], "bins": [0.0], "temperature": 0, "template": "", "variant": ""}
    config = EstimatorConfig.from_parameters({f"depth_clip.{name}": value for name, value in empty.items()}, "a file")
    assert config.options("depth_clip") == {}
    set_one = EstimatorConfig.from_parameters({"depth_clip.bins": [1, 2.5]}, "a file")
    assert set_one.options("depth_clip") == {"bins": (1.0, 2.5)}
