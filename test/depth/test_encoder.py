"""The shared encoder against the libraries it stands on."""

from __future__ import annotations

import functools

import pytest
import torch
from networks import TINY, tiny_encoder
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.importers.hugging_face import vision_config, vision_tensors
from clip_depth_ros.depth.towers import resize_positions
from clip_depth_ros.errors import BadInput


def pixels(size: int = 224, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def check_against_open_clip(encoder: SharedEncoder, image: Tensor) -> None:
    features = encoder(image, range(encoder.depth + 1), pooled=True)
    with torch.no_grad():
        expected = encoder.visual.forward_intermediates(
            image, indices=list(range(encoder.depth)), output_fmt="NLC", normalize_intermediates=False
        )
        embedding = encoder.visual(image)
    prefix = features.prefix_tokens
    for index, hidden in enumerate(expected["image_intermediates"]):
        torch.testing.assert_close(features.hidden[index + 1][:, prefix:], hidden, rtol=1e-4, atol=1e-4)
    assert features.embedding is not None
    torch.testing.assert_close(features.embedding, embedding, rtol=1e-4, atol=1e-4)
    assert features.grid[0] * features.grid[1] + prefix == features.hidden[0].shape[1]


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16-quickgelu", "ViT-L-14", "ViT-B-16-SigLIP"])
def test_full_size_towers_agree_with_open_clip(name: str) -> None:
    torch.manual_seed(0)
    check_against_open_clip(SharedEncoder.from_open_clip(name), pixels())


def test_eva_agrees_with_open_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    # The giant at 4 of its 40 blocks: the same code in a tenth of the memory.
    monkeypatch.setattr(timm, "create_model", functools.partial(timm.create_model, depth=4))
    torch.manual_seed(0)
    encoder = SharedEncoder.from_open_clip("EVA01-g-14")
    assert (encoder.width, encoder.depth, encoder.tower.prefix_tokens) == (1408, 4, 1)
    check_against_open_clip(encoder, pixels())


def test_rotary_eva_agrees_with_open_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    monkeypatch.setattr(timm, "create_model", functools.partial(timm.create_model, depth=2))
    torch.manual_seed(0)
    encoder = SharedEncoder.from_open_clip("EVA02-B-16")
    check_against_open_clip(encoder, pixels())
    with pytest.raises(BadInput, match="rotary positions for 14x14 patches alone"):
        encoder(pixels()[..., :192, :], [0])


def test_tiny_custom_tower_agrees_with_open_clip() -> None:
    check_against_open_clip(tiny_encoder(), pixels(64, batch=3))


def test_resnet_agrees_with_open_clip() -> None:
    torch.manual_seed(0)
    encoder = SharedEncoder.from_open_clip("RN50")
    image = pixels()
    features = encoder(image, {4}, pooled=True)
    with torch.no_grad():
        embedding = encoder.visual(image)
        last = encoder.visual.forward_intermediates(image, indices=[4], intermediates_only=True)["image_intermediates"][
            0
        ]
    torch.testing.assert_close(features.embedding, embedding, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features.patch_map(4), last)


def test_resnet_reads_the_nyu_crop() -> None:
    encoder = SharedEncoder.from_open_clip("RN50")
    features = encoder(torch.randn(1, 3, 416, 544), {4}, pooled=True)
    assert features.grid == (13, 17)
    assert features.hidden[4].shape == (1, 13 * 17, 2048)
    assert features.embedding is not None
    assert features.embedding.shape == (1, 1024)
    with pytest.raises(BadInput, match="no hidden state"):
        encoder(torch.randn(1, 3, 224, 224), {3})


def test_siglip_has_no_cls_token_and_its_own_normalisation() -> None:
    config = EncoderConfig.from_open_clip("ViT-B-16-SigLIP")
    assert config.mean == (0.5, 0.5, 0.5)
    assert SharedEncoder(config).tower.prefix_tokens == 0


@pytest.mark.parametrize("generation", ["with vision_model level", "without"])
def test_hidden_states_are_hugging_faces(generation: str) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    reference = transformers.CLIPVisionModel(
        transformers.CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            num_attention_heads=4,
            num_hidden_layers=5,
            image_size=64,
            patch_size=16,
        )
    ).eval()
    state = {name.removeprefix("vision_model."): tensor for name, tensor in reference.state_dict().items()}
    if generation == "with vision_model level":
        state["embeddings.position_ids"] = torch.arange(17)[None]  # older versions stored it
    encoder = encoder_from_hugging_face(state, heads=4, activation="quick_gelu")
    image = pixels(64, batch=2)
    compare_with_hugging_face(encoder, reference, image, interpolate=False)
    compare_with_hugging_face(encoder, reference, pixels(96), interpolate=True)


def test_siglip_hidden_states_are_hugging_faces() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    reference = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(image_size=224, patch_size=16)).eval()
    state = {name.removeprefix("vision_model."): tensor for name, tensor in reference.state_dict().items()}
    encoder = encoder_from_hugging_face(state, heads=None, activation="gelu_tanh")
    compare_with_hugging_face(encoder, reference, pixels(), interpolate=False)
    # The activation matters: open_clip's exact GELU would be off by far more than the tolerance above.
    exact = encoder_from_hugging_face(state, heads=None, activation="gelu")
    last = exact(pixels(), {12}).hidden[12]
    assert (last - encoder(pixels(), {12}).hidden[12]).abs().max() > 1e-4


def encoder_from_hugging_face(state: dict[str, Tensor], heads: int | None, activation: str) -> SharedEncoder:
    from pathlib import Path

    vision, embed_dim, siglip = vision_config(state, heads, Path("random"))
    encoder = SharedEncoder(EncoderConfig("reference", vision, embed_dim, activation))
    encoder.load_vision(vision_tensors(state, siglip), "random")
    return encoder


def compare_with_hugging_face(encoder: SharedEncoder, reference: nn.Module, image: Tensor, interpolate: bool) -> None:
    with torch.no_grad():
        expected = reference(image, output_hidden_states=True, interpolate_pos_encoding=interpolate)
    features = encoder(image, range(encoder.depth + 1), pooled=True)
    for index, hidden in enumerate(expected.hidden_states):
        torch.testing.assert_close(features.hidden[index], hidden, rtol=0, atol=1e-5)
    torch.testing.assert_close(features.pooled, expected.pooler_output, rtol=0, atol=1e-5)


def test_only_the_needed_blocks_run() -> None:
    encoder = tiny_encoder()
    ran: list[int] = []
    for index, block in enumerate(encoder.visual.transformer.resblocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    features = encoder(pixels(64), {0, 4})
    assert ran == [0, 1, 2, 3]
    assert set(features.hidden) == {0, 4}
    assert features.pooled is None
    ran.clear()
    encoder(pixels(64), {4}, pooled=True)
    assert ran == list(range(12))


def test_features_carry_no_gradients_and_the_tower_is_frozen() -> None:
    encoder = tiny_encoder()
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    encoder.requires_grad_(True)
    assert not encoder(pixels(64), {12}).hidden[12].requires_grad
    assert encoder.encode(pixels(64), {12}).hidden[12].requires_grad


def test_blocks_reenter_the_trunk() -> None:
    encoder = tiny_encoder()
    features = encoder(pixels(64), {3, 4})
    with torch.no_grad():
        torch.testing.assert_close(features.blocks[3](features.hidden[3]), features.hidden[4])


def test_positions_keep_their_values_at_the_trained_grid_and_interpolate_elsewhere() -> None:
    positions = torch.randn(1, 1 + 16, 8)
    assert resize_positions(positions, (4, 4), (4, 4)) is positions
    larger = resize_positions(positions, (4, 4), (6, 8))
    assert larger.shape == (1, 1 + 48, 8)
    assert torch.equal(larger[:, 0], positions[:, 0])
    constant = torch.ones(1, 17, 8)
    torch.testing.assert_close(resize_positions(constant, (4, 4), (7, 3)), torch.ones(1, 22, 8))


def test_identity_is_what_the_hidden_states_depend_on() -> None:
    encoder, other = tiny_encoder(), tiny_encoder()
    assert encoder.identity() == other.identity()
    with torch.no_grad():
        other.visual.proj.add_(1)
    assert encoder.identity() == other.identity(), "no hidden state depends on the projection"
    with torch.no_grad():
        other.visual.positional_embedding[3, 5] += 1e-3
    assert encoder.identity() != other.identity()
    activation = EncoderConfig.from_dict({**TINY.to_dict(), "activation": "gelu"})
    changed = SharedEncoder(activation)
    changed.load_vision(encoder.vision_tensors(), "test")
    assert changed.identity() != encoder.identity()
    assert tiny_encoder().half().float().identity() != encoder.identity(), "rounded weights are other weights"


def test_vision_weights_without_projection_have_no_embedding() -> None:
    encoder, source = tiny_encoder(1), tiny_encoder(2)
    tensors = source.vision_tensors()
    del tensors["proj"]
    encoder.load_vision(tensors, "test")
    features = encoder(pixels(64), {12}, pooled=True)
    assert features.embedding is None
    assert "proj" not in encoder.vision_tensors()
    assert encoder.identity() == source.identity()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("ln_post.bias"), "ln_post.bias is missing"),
        (lambda tensors: tensors.update(extra=torch.ones(1)), "extra is not part of it"),
        (lambda tensors: tensors.update(class_embedding=torch.ones(3)), r"class_embedding is \(3,\), not \(32,\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(change, message: str) -> None:
    encoder = tiny_encoder()
    tensors = encoder.vision_tensors()
    change(tensors)
    with pytest.raises(BadInput, match=message):
        encoder.load_vision(tensors, "some file")


def test_bad_sizes_layers_models_and_tags_are_named() -> None:
    encoder = tiny_encoder()
    with pytest.raises(BadInput, match="multiples of its patch 16"):
        encoder(pixels(60), {1})
    with pytest.raises(BadInput, match=r"no hidden state \[13\]"):
        encoder(pixels(64), {13})
    with pytest.raises(BadInput, match="no model 'ViT-Z'"):
        SharedEncoder.from_open_clip("ViT-Z")
    with pytest.raises(BadInput, match="no weights 'nonsense' for ViT-B-32: known tags are"):
        SharedEncoder.from_open_clip("ViT-B-32", "nonsense")
    with pytest.raises(BadInput, match="only ViT, SigLIP, EVA and RN50"):
        SharedEncoder(
            EncoderConfig("convnext", {"image_size": 64, "timm_model_name": "convnext_atto", "timm_pool": "avg"}, 8)
        )


def test_other_input_sizes_run_in_every_kind_of_tower() -> None:
    for name, size in (("ViT-B-32", 160), ("ViT-B-16-SigLIP", 160)):
        features = SharedEncoder.from_open_clip(name)(pixels(size), {2})
        assert features.hidden[2].isfinite().all()
        assert features.patch_map(2).shape[-2:] == features.grid
