"""From configuration to network, and everything that can be wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import TINY, tiny_encoder, tiny_head
from safetensors.torch import save_file

from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
from clip_depth_ros.depth.config import EstimatorConfig, read_parameters
from clip_depth_ros.depth.loading import load_network, pick_device
from clip_depth_ros.errors import BadInput

METADATA = CheckpointMetadata(method="space_clip", encoder=TINY, canonical_focal_px=40.0)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A head and its encoder, apart and together, and an encoder of the same shape that is another one."""
    encoder, head = tiny_encoder(), tiny_head()
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("encoder", "head", "both", "other")}
    save_checkpoint(paths["encoder"], replace(METADATA, method="encoder"), encoder=encoder)
    save_checkpoint(paths["head"], replace(METADATA, encoder_identity=encoder.identity()), head=head)
    save_checkpoint(paths["both"], METADATA, head, encoder)
    save_checkpoint(paths["other"], replace(METADATA, method="encoder"), encoder=tiny_encoder(seed=9))
    plain = {f"visual.{name}": tensor for name, tensor in encoder.vision_tensors().items()}
    save_file(plain, tmp_path / "open_clip.safetensors")
    return {**{name: str(path) for name, path in paths.items()}, "open_clip": str(tmp_path / "open_clip.safetensors")}


def test_encoder_and_head_from_one_file_or_two(files: dict[str, str]) -> None:
    for weights, extra in (
        ((files["both"],), ""),
        ((files["encoder"], files["head"]), ""),
        ((files["head"],), files["encoder"]),
        ((files["head"],), files["open_clip"]),
    ):
        encoder, heads, focal, identity = load_network(EstimatorConfig(weights=weights, encoder_weights=extra))
        assert identity == encoder.identity() == tiny_encoder().identity()
        assert list(heads) == ["space_clip"]
        assert focal == {"space_clip": 40.0}


def test_a_head_of_another_encoder_is_an_error_that_names_both(files: dict[str, str]) -> None:
    right, wrong = tiny_encoder().identity()[:12], tiny_encoder(seed=9).identity()[:12]
    for config in (
        EstimatorConfig(weights=(files["head"], files["other"])),
        EstimatorConfig(weights=(files["both"],), encoder_weights=files["other"]),
    ):
        with pytest.raises(BadInput, match=rf"trained on encoder tiny \({right}\).*is tiny \({wrong}\)"):
            load_network(config)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (("head",), "holds no encoder: set encoder.weights"),
        (("encoder",), "Head space_clip has no weights"),
        (("both", "head"), "Head space_clip is in 2 of the files"),
        (("nowhere",), "does not exist"),
    ],
)
def test_weights_that_do_not_make_a_network(files: dict[str, str], weights: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_network(EstimatorConfig(weights=tuple(files.get(name, name) for name in weights)))


def test_unknown_heads_and_open_clip_models(files: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="Head 'wings' is unknown"):
        load_network(EstimatorConfig(heads=("wings",), weights=(files["both"],)))
    with pytest.raises(BadInput, match="no model 'ViT-Z'"):
        load_network(EstimatorConfig(weights=(files["both"],), encoder_model="ViT-Z", encoder_weights="openai"))
    with pytest.raises(BadInput, match="does not hold the weights of encoder ViT-B-32"):
        load_network(
            EstimatorConfig(weights=(files["both"],), encoder_model="ViT-B-32", encoder_weights=files["open_clip"])
        )


def test_devices() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "cuda:x", "meta"):
        with pytest.raises(BadInput, match="must be auto, cpu, cuda or cuda:N"):
            pick_device(name)
    with pytest.raises(BadInput, match="usable CUDA devices"):
        pick_device("cuda:99")
    if not torch.cuda.is_available():
        with pytest.raises(BadInput, match="has 0 usable CUDA devices: set device to auto or cpu"):
            pick_device("cuda")


def test_configuration_from_ros_yaml(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    heads: [space_clip]\n    weights: [a.safetensors]\n    points: {stride: 2}\n"
        "clip_depth:\n  ros__parameters:\n    encoder: {model: ViT-B-32, weights: openai}\n    device: cpu\n"
    )
    config = EstimatorConfig.from_yaml(file)
    assert config == EstimatorConfig(("space_clip",), ("a.safetensors",), "ViT-B-32", "openai", "cpu")
    assert read_parameters(file)["points.stride"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is no YAML"),
        ("a: 1", "has no parameters"),
        ("[]", "has no parameters"),
        ("/**: {ros__parameters: {heads: space_clip}}", "heads in .* must be a list of strings"),
        ("/**: {ros__parameters: {heads: []}}", "name at least one head"),
        ("/**: {ros__parameters: {heads: [a, a]}}", "each once"),
        ("/**: {ros__parameters: {weights: [1]}}", "weights in .* must be a list of strings"),
        ("/**: {ros__parameters: {device: 3}}", "device in .* must be a string"),
        ("/**: {ros__parameters: {precision: int4}}", "precision is 'int4'"),
    ],
)
def test_bad_configurations(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(text)
    with pytest.raises(BadInput, match=message):
        EstimatorConfig.from_yaml(file)


def test_missing_configuration(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        EstimatorConfig.from_yaml(tmp_path / "absent.yaml")
