"""``clip-depth export``: every head as an ONNX file that ONNX Runtime runs as PyTorch does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import TINY, varied_head
from tiny_open_clip import RESNET

from clip_depth_ros.cli import main
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads import DepthHead
from clip_depth_ros.depth.heads.depth_blip2 import DepthBlip2Config, DepthBlip2Head
from clip_depth_ros.depth.heads.depth_clip import DepthClipConfig, DepthClipHead
from clip_depth_ros.depth.heads.moa_depth_clip import MoaDepthClipConfig, MoaDepthClipHead
from clip_depth_ros.depth.heads.qformer import QFormerConfig
from clip_depth_ros.depth.heads.space_clip import SpaceClipConfig

WHY = "needs onnx and onnxruntime: pip install 'clip_depth_ros[onnx]'"
onnx = pytest.importorskip("onnx", reason=WHY)
onnxruntime = pytest.importorskip("onnxruntime", reason=WHY)

VIT = replace(TINY, vision={**TINY.vision, "layers": 3})


def vit() -> SharedEncoder:
    torch.manual_seed(0)
    return SharedEncoder(VIT)


def resnet() -> SharedEncoder:
    torch.manual_seed(0)
    encoder = SharedEncoder(EncoderConfig("tiny-resnet", RESNET["vision_cfg"], RESNET["embed_dim"]))
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # the last ones of a block start at 0, which would hide it
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return encoder


def space_clip(encoder: SharedEncoder) -> DepthHead:
    layers: dict[str, Any] = {"semantic_layers": (3, 2, 2, 1), "structural_layers": (2, 1, 0)}
    return varied_head(SpaceClipConfig(encoder.width, (16, 12, 8, 8), 16, **layers))


def moa(encoder: SharedEncoder) -> DepthHead:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"bottleneck": 4, "gate_hidden": 8, "context_width": 6, "bins": 16}
    head = MoaDepthClipHead(MoaDepthClipConfig(encoder.config, (0, 2), 1, **sizes))
    head.copy_tuned_blocks(encoder)
    with torch.no_grad():
        for value in (*(adapter.up.weight for adapter in head.adapters), head.classification.weight, head.context):
            value.normal_(0, 0.4)
    return head.requires_grad_(False).eval()


def depth_blip2(encoder: SharedEncoder) -> DepthHead:
    torch.manual_seed(1)
    sizes = QFormerConfig(24, layers=3, heads=2, hidden=32, queries=4, image_width=32, vocabulary=30, positions=8)
    head = DepthBlip2Head(
        DepthBlip2Config(
            layer=2,
            prompts=("near", "not so near", "far"),
            token_ids=((1, 5, 2), (1, 6, 7, 5, 2), (1, 8, 2)),
            bins=(0.5, 2.0, 5.0),
            map_size=(2, 4, 3),
            temperature=0.5,
            qformer=sizes,
        )
    )
    for value in head.parameters():
        torch.nn.init.normal_(value, 0.0 if value.ndim > 1 else 1.0, 0.5)
    return head.requires_grad_(False).eval()


def depth_blip2_of_the_image(encoder: SharedEncoder) -> DepthHead:
    fixed = depth_blip2(encoder)
    head = DepthBlip2Head(DepthBlip2Config.from_dict({**fixed.config_dict(), "adaptive": "image"}))
    for value in head.parameters():
        torch.nn.init.normal_(value, 0.0 if value.ndim > 1 else 1.0, 0.2)
    return head.requires_grad_(False).eval()


def depth_clip(encoder: SharedEncoder) -> DepthHead:
    # Patches of a random tower are nearly alike: let the words be what tells some of them apart.
    pixels = torch.randn(2, 3, *encoder.config.image_size, generator=torch.Generator().manual_seed(2))
    features = encoder(pixels, {encoder.depth})
    assert features.project is not None
    patches = features.project(features.hidden[encoder.depth]).flatten(0, 1)
    words = (patches - patches.mean(dim=0))[:7]
    return DepthClipHead.from_prompts(DepthClipConfig.for_encoder(encoder, temperature=1.0), words)


def store(path: Path, encoder: SharedEncoder, head: DepthHead | None, canonical: float | None = None) -> str:
    method = head.method if head is not None else "encoder"
    metadata = CheckpointMetadata(method, encoder.config, canonical_focal_px=canonical, licence="Apache-2.0")
    save_checkpoint(path, metadata, head, encoder)
    return str(path)


def noise(batch: int, height: int, width: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


def estimator(weights: str) -> DepthEstimator:
    checkpoint = load_checkpoint(Path(weights))
    encoder = checkpoint.build_encoder()
    assert encoder is not None
    return DepthEstimator(encoder, {"head": checkpoint.build_head()}, "cpu", "fp32")


def as_pixels(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 3, 1, 2).astype(np.float32)


@pytest.mark.parametrize(
    ("build_encoder", "build_head"),
    [
        (vit, space_clip),
        (vit, moa),
        (vit, depth_blip2),
        (vit, depth_blip2_of_the_image),
        (vit, depth_clip),
        (resnet, depth_clip),
    ],
)
def test_every_head_is_the_same_in_onnx_runtime(
    tmp_path: Path, capsys, build_encoder: Callable, build_head: Callable
) -> None:
    encoder = build_encoder()
    weights = store(tmp_path / "w.safetensors", encoder, build_head(encoder))
    output = tmp_path / "new" / "depth.onnx"
    assert main(["export", weights, "-o", str(output), "--size", "40x56"]) == 0
    assert f"--maxShapes=pixels:8x3x{'x'.join(map(str, encoder.config.image_size))}" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    height, width = encoder.config.image_size
    reference = estimator(weights)
    for batch in (1, 2, 5):
        images = noise(batch, height, width)
        expected = reference(images, output_size=(40, 56))["head"]
        names = ["depth"] if expected.confidence is None else ["depth", "confidence"]
        assert [value.name for value in session.get_outputs()] == names
        outputs = session.run(None, {"pixels": as_pixels(images)})
        np.testing.assert_allclose(outputs[0], expected.depth.numpy(), rtol=1e-3, atol=1e-4)
        assert outputs[0].dtype == np.float32
        assert np.ptp(outputs[0]) > 1e-3, "a constant would prove nothing"
        if expected.confidence is not None:
            np.testing.assert_allclose(outputs[1], expected.confidence.numpy(), atol=1e-3)
    assert [path.name for path in output.parent.iterdir()] == ["depth.onnx"]


def test_the_file_says_how_to_get_metres(tmp_path: Path) -> None:
    encoder = vit()
    weights = store(tmp_path / "w.safetensors", encoder, space_clip(encoder), canonical=51.5)
    assert main(["export", weights, "-o", str(tmp_path / "d.onnx"), "--input-size", "48x80"]) == 0
    model = onnx.load(str(tmp_path / "d.onnx"))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["method"] == "space_clip"
    assert properties["encoder_identity"] == encoder.identity()
    assert float(properties["canonical_focal_px"]) == 51.5
    assert json.loads(properties["mean"]) == list(VIT.mean)
    assert json.loads(properties["std"]) == list(VIT.std)
    assert json.loads(properties["valid_range"]) == [0.001, 10.0]
    assert json.loads(properties["input_size"]) == [48, 80]
    assert properties["licence"] == "Apache-2.0"
    assert "depth * f / 51.5" in properties["metres"]

    def shape(value: Any) -> list[Any]:
        return [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]

    assert shape(model.graph.input[0]) == ["batch", 3, 48, 80]
    assert shape(model.graph.output[0]) == ["batch", 48, 80]
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}


def test_camera_pictures_are_resized_in_the_graph(tmp_path: Path) -> None:
    encoder = vit()
    weights = store(tmp_path / "w.safetensors", encoder, space_clip(encoder))
    words = ["--input", "image", "--camera-size", "90x130", "--opset", "18"]
    assert main(["export", weights, "-o", str(tmp_path / "d.onnx"), *words]) == 0
    images = noise(3, 90, 130)
    session = onnxruntime.InferenceSession(str(tmp_path / "d.onnx"), providers=["CPUExecutionProvider"])
    (depth,) = session.run(None, {"image": images})
    expected = estimator(weights)(images)["head"].depth.numpy()
    assert depth.shape == (3, 90, 130)
    np.testing.assert_allclose(depth, expected, rtol=1e-3, atol=1e-4)


def test_a_configuration_chooses_head_and_normalisation(tmp_path: Path) -> None:
    encoder = vit()
    weights = store(tmp_path / "w.safetensors", encoder, space_clip(encoder))
    second = store(tmp_path / "v.safetensors", encoder, depth_clip(encoder))
    (tmp_path / "node.yaml").write_text(
        f"/**: {{ros__parameters: {{heads: [space_clip], weights: [{weights}, {second}], "
        "encoder: {normalisation: imagenet}}}"
    )
    assert main(["export", "--config", str(tmp_path / "node.yaml"), "-o", str(tmp_path / "d.onnx")]) == 0
    images = noise(2, *encoder.config.image_size)
    session = onnxruntime.InferenceSession(str(tmp_path / "d.onnx"), providers=["CPUExecutionProvider"])
    (depth,) = session.run(None, {"pixels": as_pixels(images)})
    expected = DepthEstimator.from_config(tmp_path / "node.yaml", "cpu")(images)["space_clip"].depth.numpy()
    np.testing.assert_allclose(depth, expected, rtol=1e-3, atol=1e-4)
    own = estimator(weights)(images)["head"].depth.numpy()
    assert np.abs(own - expected).max() > 1e-3
    properties = {entry.key: entry.value for entry in onnx.load(str(tmp_path / "d.onnx")).metadata_props}
    assert json.loads(properties["mean"]) == [0.485, 0.456, 0.406]


def test_half_keeps_its_input_and_output(tmp_path: Path, capsys) -> None:
    encoder = vit()
    weights = store(tmp_path / "w.safetensors", encoder, space_clip(encoder))
    assert main(["export", weights, "-o", str(tmp_path / "d.onnx"), "--half"]) == 0
    assert "--stronglyTyped" in capsys.readouterr().out
    model = onnx.load(str(tmp_path / "d.onnx"))
    single, half = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    assert {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)} == {single}
    sizes = dict.fromkeys((single, half), 0)
    for tensor in model.graph.initializer:
        if tensor.data_type in sizes:
            sizes[tensor.data_type] += int(np.prod(tensor.dims))
    assert sizes[half] > 100 * sizes[single]


def test_the_encoder_stops_at_the_last_layer_read(tmp_path: Path) -> None:
    encoder = vit()
    weights = store(tmp_path / "w.safetensors", encoder, depth_blip2(encoder))
    assert main(["export", weights, "-o", str(tmp_path / "d.onnx")]) == 0
    names = {tensor.name for tensor in onnx.load(str(tmp_path / "d.onnx")).graph.initializer}
    assert any("resblocks.1." in name for name in names)
    assert not any("resblocks.2." in name or "ln_post" in name for name in names)


def test_an_encoder_of_timm(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = EncoderConfig(
        "tiny-timm",
        {
            "image_size": 32,
            "timm_model_name": "vit_tiny_patch16_224",
            "timm_pool": "token",
            "timm_proj": "linear",
        },
        24,
    )
    encoder = SharedEncoder(config)
    head = varied_head(
        SpaceClipConfig(
            encoder.width, (16, 12, 8, 8), 16, semantic_layers=(2, 2, 1, 1), structural_layers=(2, 1, 0), film=False
        )
    )
    weights = store(tmp_path / "w.safetensors", encoder, head)
    assert main(["export", weights, "-o", str(tmp_path / "d.onnx")]) == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "d.onnx"), providers=["CPUExecutionProvider"])
    images = noise(4, 32, 32)
    expected = estimator(weights)(images)["head"].depth.numpy()
    np.testing.assert_allclose(session.run(None, {"pixels": as_pixels(images)})[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "tensorrt"], "--format is 'tensorrt'"),
        (["--opset", "11"], "--opset is 11: it must be 17 to 20"),
        (["--size", "480"], "--size is '480': give HEIGHTxWIDTH in pixels"),
        (["--size", "0x640"], "--size is '0x640'"),
        (["--input-size", "50x64"], "cannot read 50x64 pixels"),
        (["--input", "image"], "--input image and --camera-size belong together"),
        (["--camera-size", "48x64"], "--input image and --camera-size belong together"),
        (["--head", "depth_blip2"], "Head depth_blip2 has no weights"),
        (["--head", "other"], "Head 'other' is unknown"),
        (["--config", "absent.yaml"], "cannot be read"),
        (["-o", "."], "is a folder"),
        (["-o", "w.safetensors/d.onnx"], "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, monkeypatch, capsys, words: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = vit()
    store(Path("w.safetensors"), encoder, space_clip(encoder))
    assert main(["export", "w.safetensors", "-o", "d.onnx", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_which_head_is_asked_where_there_are_two(tmp_path: Path, capsys) -> None:
    encoder = vit()
    first = store(tmp_path / "a.safetensors", encoder, space_clip(encoder))
    second = store(tmp_path / "b.safetensors", encoder, depth_clip(encoder))
    assert main(["export", first, second, "-o", str(tmp_path / "d.onnx")]) == 2
    assert "hold the heads space_clip, depth_clip: choose one with --head" in capsys.readouterr().err
    alone = store(tmp_path / "c.safetensors", encoder, None)
    assert main(["export", alone, "-o", str(tmp_path / "d.onnx")]) == 2
    assert "holds a head" in capsys.readouterr().err
    assert main(["export", first, second, "--head", "depth_clip", "-o", str(tmp_path / "d.onnx")]) == 0
    properties = onnx.load(str(tmp_path / "d.onnx")).metadata_props
    assert "depth_clip" in [entry.value for entry in properties if entry.key == "method"]


def test_missing_packages_are_named_before_anything_is_loaded(tmp_path: Path) -> None:
    script = """
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = staticmethod(
    lambda name, *rest, **more: None if name.partition(".")[0] == "onnxruntime" else find(name, *rest, **more)
)
from clip_depth_ros.cli import main
sys.exit(main(["export", "absent.safetensors", "--head", "space_clip", "-o", "d.onnx"]))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "needs onnxruntime, not installed here: run pip install 'clip_depth_ros[onnx]'" in done.stderr
