"""The only door weights come through."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import TINY, tiny_encoder, tiny_head
from safetensors import safe_open
from safetensors.torch import save_file

from clip_depth_ros.depth.checkpoint import (
    CheckpointMetadata,
    load_checkpoint,
    read_metadata,
    read_vision_tensors,
    save_checkpoint,
)
from clip_depth_ros.errors import BadInput

METADATA = CheckpointMetadata(
    method="space_clip",
    encoder=TINY,
    trained_on="random numbers",
    training_intrinsics="none",
    canonical_focal_px=51.5,
    metrics=({"data": "none", "protocol": "metric; no crop", "abs_rel": 0.5},),
    licence="Apache-2.0",
    source="a test",
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, METADATA, tiny_head(), tiny_encoder())
    return path


def test_everything_comes_back(saved: Path) -> None:
    encoder, head = tiny_encoder(), tiny_head()
    checkpoint = load_checkpoint(saved)
    expected = replace(METADATA, encoder_identity=encoder.identity(), head=checkpoint.metadata.head)
    assert checkpoint.metadata == expected
    assert read_metadata(saved) == expected
    rebuilt_encoder, rebuilt_head = checkpoint.build_encoder(), checkpoint.build_head()
    assert rebuilt_encoder is not None
    assert rebuilt_encoder.identity() == encoder.identity()
    assert not any(parameter.requires_grad for parameter in rebuilt_head.parameters())
    assert not rebuilt_head.training
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = head(encoder(image, head.layers, pooled=True), (32, 32)).depth
        after = rebuilt_head(rebuilt_encoder(image, head.layers, pooled=True), (32, 32)).depth
    assert before.std() > 0
    assert torch.equal(before, after)


def test_parts_can_be_files_of_their_own(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "e.safetensors", replace(METADATA, method="encoder"), encoder=tiny_encoder())
    identity = tiny_encoder().identity()
    save_checkpoint(tmp_path / "h.safetensors", replace(METADATA, encoder_identity=identity), head=tiny_head())
    encoder_file, head_file = load_checkpoint(tmp_path / "e.safetensors"), load_checkpoint(tmp_path / "h.safetensors")
    assert encoder_file.metadata.encoder_identity == head_file.metadata.encoder_identity
    assert head_file.build_encoder() is None
    with pytest.raises(BadInput, match="holds an encoder and no head"):
        encoder_file.build_head()
    assert read_vision_tensors(tmp_path / "e.safetensors").keys() == tiny_encoder().vision_tensors().keys()
    with pytest.raises(BadInput, match="holds no image tower"):
        read_vision_tensors(tmp_path / "h.safetensors")


def test_open_clips_own_safetensors_are_read(tmp_path: Path) -> None:
    tensors = {f"visual.{name}": tensor for name, tensor in tiny_encoder().vision_tensors().items()}
    save_file({**tensors, "logit_scale": torch.ones(1)}, tmp_path / "open_clip.safetensors")
    encoder = tiny_encoder(seed=5)
    encoder.load_vision(read_vision_tensors(tmp_path / "open_clip.safetensors"), "open_clip")
    assert encoder.identity() == tiny_encoder().identity()


def rewrite(path: Path, change) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    values = json.loads(metadata["clip_depth_ros"])
    change(values, tensors)
    save_file(tensors, path, metadata={"clip_depth_ros": json.dumps(values)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values, tensors: values.update(format=99), "format 99, newer than this version"),
        (lambda values, tensors: values.pop("encoder"), "metadata of .* is damaged"),
        (lambda values, tensors: values.update(wings=2), "metadata of .* is damaged"),
        (lambda values, tensors: values.update(method="telepathy"), "Head 'telepathy' is unknown"),
        (lambda values, tensors: tensors.update({"tail.weight": torch.ones(1)}), "neither a head's nor an encoder's"),
        (lambda values, tensors: tensors.pop("head.film.0.0.bias"), "film.0.0.bias is missing"),
        (lambda values, tensors: values["head"].update(film_hidden=8), "does not fit its own space_clip configuration"),
        (lambda values, tensors: tensors["encoder.ln_post.bias"].add_(1), "the file was altered"),
    ],
)
def test_damaged_files_are_refused_by_name(saved: Path, change, message: str) -> None:
    rewrite(saved, change)
    with pytest.raises(BadInput, match=message):
        build_everything(saved)


def build_everything(path: Path) -> None:
    checkpoint = load_checkpoint(path)
    checkpoint.build_head()
    checkpoint.build_encoder()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path, good: path.write_bytes(good[:-100]), "truncated"),
        (lambda path, good: path.write_bytes(good[:5]), "truncated"),
        (lambda path, good: path.write_bytes(b""), "truncated"),
        (lambda path, good: torch.save({"a": torch.ones(1)}, path), "pickled PyTorch file, which is never loaded"),
        (lambda path, good: path.write_bytes(pickle.dumps({"a": 1})), "pickled PyTorch file, which is never loaded"),
        (lambda path, good: save_file({"a": torch.ones(1)}, path), "of another program"),
        (lambda path, good: path.unlink(), "does not exist"),
    ],
)
def test_files_that_are_no_checkpoint(saved: Path, make, message: str) -> None:
    make(saved, saved.read_bytes())
    with pytest.raises(BadInput, match=message):
        load_checkpoint(saved)
    with pytest.raises(BadInput, match=message):
        read_metadata(saved)


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "weights.safetensors", METADATA, head=tiny_head())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
