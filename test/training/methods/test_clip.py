"""Contrastive training with a dense depth loss: formulas, learning, and what comes out."""

import numpy as np
import pytest
import torch
from torch import nn

from clip_depth_ros.depth.checkpoint import load_checkpoint
from clip_depth_ros.depth.encoder import EncoderFeatures
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.base import Batch
from clip_depth_training.methods.base import Provenance
from clip_depth_training.methods.clip import ClipConfig, ClipMethod, DenseProbe
from clip_depth_training.methods.text import TextTower, read_training_parts
from clip_depth_training.sections import build

TINY = {
    "encoder_name": "tiny",
    "image_size": 32,
    "width": 64,
    "layers": 2,
    "embed_dim": 16,
    "text_width": 64,
    "text_layers": 1,
    "context_length": 16,
    "dense_layers": (1, 2),
    "dense_hidden": 16,
    "dense_cells": 4,
    "canonical_focal_px": 32.0,
}
COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220), "white": (240, 240, 240)}


def coloured_rooms(count=8):
    """Pictures of one colour, named by their caption; redder is nearer."""
    names = [list(COLOURS)[index % 4] for index in range(count)]
    images = torch.tensor([COLOURS[name] for name in names], dtype=torch.uint8)[:, None, None].expand(-1, 32, 32, 3)
    depth = torch.tensor([1.0 + list(COLOURS).index(name) for name in names])[:, None, None].expand(-1, 32, 32)
    captions = tuple(f"a {name} room" for name in names)
    return Batch(images.contiguous(), depth.contiguous(), torch.full((count,), 32.0), captions)


def test_the_probe_puts_each_value_where_its_part_of_the_patch_is():
    config = ClipConfig(**TINY)
    probe = DenseProbe(config)
    nn.init.zeros_(probe.output.weight)
    with torch.no_grad():
        probe.output.bias.copy_(torch.arange(16.0))
    hidden = {layer: torch.randn(1, 5, 64) for layer in (1, 2)}
    logarithm = probe(EncoderFeatures(hidden, (2, 2), 1)) - np.log(2.0)
    expected = torch.arange(16.0).view(4, 4).repeat(2, 2)
    assert torch.allclose(logarithm[0].detach(), expected, atol=1e-5)
    with torch.no_grad():  # patches keep their places in the grid
        probe.output.weight.normal_()
        probe.output.bias.zero_()
        hidden[1][:, 1:] = torch.arange(4.0)[None, :, None] * torch.randn(64)
        by_patch = probe(EncoderFeatures(hidden, (2, 2), 1))
        last = {layer: value[:, [0, 4]] for layer, value in hidden.items()}
        alone = probe(EncoderFeatures(last, (1, 1), 1))
    assert torch.allclose(by_patch[:, 4:, 4:], alone, atol=1e-5)


def test_the_contrastive_loss_is_clips():
    text = TextTower(16, 64, 1, 16)
    captions = ("a red room", "a blue room", "a chair, close")
    images = torch.randn(3, 16)
    with torch.no_grad():
        loss = float(text.contrastive_loss(images, captions))
        texts = text(captions).numpy()
    a = images.numpy() / np.linalg.norm(images.numpy(), axis=1, keepdims=True)
    b = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    logits = a @ b.T / 0.07
    rows = np.log(np.exp(logits).sum(1)) - np.diag(logits)
    columns = np.log(np.exp(logits).sum(0)) - np.diag(logits)
    assert loss == pytest.approx((rows.mean() + columns.mean()) / 2, rel=1e-4)


def test_retrieval_counts_the_pictures_whose_caption_is_nearest():
    text = TextTower(16, 64, 1, 16)
    captions = ("a red room", "a blue room", "a dark corridor", "a chair")
    with torch.no_grad():
        own = text(captions)
        assert float(text.retrieval(own, captions)) == 1.0
        assert float(text.retrieval(own[[0, 1, 3, 2]], captions)) == 0.5


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    method = ClipMethod(ClipConfig(**TINY))
    batch = coloured_rooms(4)
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-4)
    first = {name: float(value.detach()) for name, value in method.losses(batch).items()}
    for _ in range(150):
        optimizer.zero_grad()
        losses = method.losses(batch)
        losses["loss"].backward()
        optimizer.step()
    return method, first, {name: float(value.detach()) for name, value in losses.items()}


def test_it_learns_words_and_depth_together(trained):
    method, first, last = trained
    assert first["loss"] == pytest.approx(first["dense"] + first["contrastive"], rel=1e-5)
    assert last["dense"] < 0.3 * first["dense"]
    assert last["contrastive"] < 0.3 * first["contrastive"]
    batch = coloured_rooms(4)
    assert float(method.measures(batch)["retrieval"]) == 1.0
    assert torch.allclose(method.metres(batch).mean((1, 2)), torch.tensor([1.0, 2, 3, 4]), rtol=0.2)


def test_depth_is_for_the_canonical_focal_length(trained):
    method, _, _ = trained
    batch = coloured_rooms(4)
    doubled = Batch(batch.images, batch.depth * 2, batch.focal * 2, batch.captions)
    assert torch.allclose(method.metres(doubled), 2 * method.metres(batch))
    assert torch.allclose(method.losses(doubled)["dense"], method.losses(batch)["dense"], rtol=1e-4)


@pytest.mark.parametrize(("dense", "contrastive"), [(1.0, 0.0), (0.0, 1.0)])
def test_either_loss_can_be_off_and_then_trains_nothing_of_its_own(dense, contrastive):
    method = ClipMethod(ClipConfig(**TINY, dense_weight=dense, contrastive_weight=contrastive))
    losses = method.losses(coloured_rooms(4))
    losses["loss"].backward()
    assert set(losses) == {"loss", "dense" if dense else "contrastive"}
    assert all((value.grad is not None) == value.requires_grad for value in method.parameters())
    assert any(value.requires_grad for value in method.text.parameters()) == bool(contrastive)
    assert any(value.requires_grad for value in method.probe.parameters()) == bool(dense)


def test_the_exported_tower_embeds_pictures_beside_their_captions_and_training_goes_on_from_it(trained, tmp_path):
    method, _, _ = trained
    files = method.export(tmp_path, Provenance("tiny", "four colours"))
    assert [file.name for file in files] == ["encoder.safetensors", "clip_training.safetensors"]
    metadata = load_checkpoint(files[0]).metadata
    assert metadata.trained_on == "four colours"
    assert metadata.encoder_identity == method.encoder.identity()
    batch = coloured_rooms(4)
    encoder = load_checkpoint(files[0]).build_encoder()
    embedding = encoder(method.preprocess(batch.images), [2], pooled=True).embedding
    assert float(method.text.retrieval(embedding, batch.captions)) == 1.0
    again = ClipMethod(build(ClipConfig, read_training_parts(files[1])[1] | {"start_from": str(tmp_path)}, "test"))
    assert torch.equal(again.metres(batch), method.metres(batch))
    assert float(again.losses(batch)["loss"]) == pytest.approx(float(method.losses(batch)["loss"]), rel=1e-6)
    stored = read_training_parts(files[1])[0]
    words = len(stored["text.transformer.token_embedding.weight"])
    assert words == int(method.text.seen.sum()) < 20  # start, end, nothing, and the words of the captions
    tower_only = tmp_path / "tower"
    tower_only.mkdir()
    files[0].rename(tower_only / "encoder.safetensors")
    fresh = ClipMethod(ClipConfig(**TINY, start_from=str(tower_only)))
    assert fresh.encoder.identity() == method.encoder.identity()


def test_a_tower_goes_on_with_the_stem_of_another(tmp_path):
    sizes = {**TINY, "stem": "convolutional"}
    encoders = {}
    for name in ("tower", "stem"):
        method = ClipMethod(ClipConfig(**sizes)).train()
        method.losses(coloured_rooms(4))["loss"].backward()  # for the convolutions' statistics
        method.export(tmp_path / name, Provenance("tiny", f"pictures of {name}"))
        encoders[name] = load_checkpoint(tmp_path / name / "encoder.safetensors")
    folders = {"start_from": str(tmp_path / "tower"), "stem_from": str(tmp_path / "stem")}
    joined = ClipMethod(ClipConfig(**sizes, **folders))
    state = joined.encoder.vision_tensors()
    for key, value in state.items():
        before_the_blocks = key.startswith(("conv1", "class_embedding", "positional_embedding", "ln_pre"))
        assert torch.equal(value, encoders["stem" if before_the_blocks else "tower"].encoder[key]), key
    tower, stem = (f"encoder {encoders[name].metadata.encoder_identity[:12]}" for name in ("tower", "stem"))
    assert joined.started_from == f"the {tower} with the stem of the {stem}"
    assert joined.history == f"The {tower}: pictures of tower. The {stem}: pictures of stem."
    with pytest.raises(BadInput, match="stem_from needs start_from"):
        ClipConfig(**sizes, stem_from=folders["stem_from"])


def test_early_convolutions_learn_their_statistics_and_come_back_with_them(tmp_path):
    method = ClipMethod(ClipConfig(**TINY, stem="convolutional", layer_scale=0.1, mlp_ratio=2.0)).train()
    block = method.encoder.visual.transformer.resblocks[0]
    assert (block.mlp.c_fc.out_features, float(block.ls_1.gamma[0])) == (2 * TINY["width"], pytest.approx(0.1))
    method.losses(coloured_rooms(4))["loss"].backward()
    assert float(method.encoder.visual.get_buffer("conv1.1.running_mean").abs().max()) > 0
    file, _ = method.eval().export(tmp_path, Provenance("tiny", "nothing"))
    images = method.preprocess(coloured_rooms(4).images)
    expected = method.encoder(images, [2]).hidden[2]
    assert torch.equal(load_checkpoint(file).build_encoder()(images, [2]).hidden[2], expected)


def test_a_tower_that_learnt_no_words_is_exported_without_a_projection(tmp_path):
    method = ClipMethod(ClipConfig(**TINY, contrastive_weight=0))
    file, _ = method.export(tmp_path, Provenance("tiny", "nothing"))
    encoder = load_checkpoint(file).build_encoder()
    assert encoder(method.preprocess(coloured_rooms(1).images), [2], pooled=True).embedding is None


def test_what_cannot_be_trained_is_said_in_one_sentence(tmp_path):
    without_words = Batch(*(getattr(coloured_rooms(4), name) for name in ("images", "depth", "focal")))
    with pytest.raises(BadInput, match="no captions"):
        ClipMethod(ClipConfig(**TINY)).losses(without_words)
    with pytest.raises(BadInput, match="nothing to train"):
        ClipConfig(**TINY, dense_weight=0, contrastive_weight=0)
    with pytest.raises(BadInput, match="dense_cells"):
        ClipConfig(**{**TINY, "dense_cells": 5})
    with pytest.raises(BadInput, match="does not exist"):
        ClipMethod(ClipConfig(**TINY, start_from=str(tmp_path)))
    (tmp_path / "clip_training.safetensors").write_bytes(b"junk")
    with pytest.raises(BadInput, match="clip_training"):
        read_training_parts(tmp_path / "clip_training.safetensors")
