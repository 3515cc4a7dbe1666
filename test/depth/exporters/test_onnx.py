"""The parts of the ONNX export that a whole file does not show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from networks import TINY, tiny_encoder, varied_head

from clip_depth_ros.depth.checkpoint import CheckpointMetadata
from clip_depth_ros.depth.encoder import EncoderFeatures
from clip_depth_ros.depth.exporters.onnx import CameraResize, GraphOptions, export_onnx, trtexec_line
from clip_depth_ros.depth.exporters.onnx_check import Deviation
from clip_depth_ros.depth.heads.base import DepthPrediction
from clip_depth_ros.depth.heads.space_clip import SpaceClipConfig, SpaceClipHead
from clip_depth_ros.errors import BadInput


@pytest.mark.parametrize(
    ("old", "new"),
    [((480, 640), (224, 224)), ((270, 480), (128, 128)), ((100, 90), (224, 160)), ((64, 200), (64, 96))],
)
def test_the_resize_is_torchs_8_bit_kernel_to_the_bit(old: tuple[int, int], new: tuple[int, int]) -> None:
    pictures = torch.randint(0, 256, (2, 3, *old), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(pictures, new, mode="bicubic", antialias=True)
    resized = CameraResize(old, new)(pictures.float())
    assert torch.equal(resized, expected.float())


class ForgetfulHead(SpaceClipHead):
    """Depth that depends on a Python number, which a trace takes for a constant."""

    def forward(self, features: EncoderFeatures, output_size: tuple[int, int]) -> DepthPrediction:
        prediction = super().forward(features, output_size)
        return replace(prediction, depth=prediction.depth * (10 + len(features.hidden[0])))


def test_a_file_that_differs_is_not_written(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs onnx: pip install 'clip_depth_ros[onnx]'")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'clip_depth_ros[onnx]'")
    config = SpaceClipConfig(32, (16, 12, 8, 8), 16)
    head = ForgetfulHead(config).eval()
    head.load_state_dict(varied_head(config).state_dict())
    options = GraphOptions((64, 64), (64, 64))
    with pytest.raises(BadInput, match=r"d\.onnx was not written: ONNX Runtime's depth is up to .* off PyTorch's"):
        export_onnx(
            tmp_path / "d.onnx", tiny_encoder(), head.requires_grad_(False), options, CheckpointMetadata("x", TINY)
        )
    assert not list(tmp_path.iterdir())


def test_what_passes() -> None:
    assert Deviation(9e-4, 1e-4, 9e-4).passes(half=False)
    assert not Deviation(2e-3, 1e-4, 0.0).passes(half=False)
    assert not Deviation(1e-5, 1e-5, 2e-3).passes(half=False)
    assert not Deviation(float("nan"), float("nan"), 0.0).passes(half=False)
    assert Deviation(2e-2, 4e-3, 0.0).passes(half=True)
    assert not Deviation(2e-2, 6e-3, 0.0).passes(half=True)


def test_the_line_for_tensorrt() -> None:
    options = GraphOptions((224, 224), (480, 640), camera_size=(480, 640), half=True)
    assert trtexec_line(Path("out/depth.onnx"), options) == (
        "trtexec --onnx=out/depth.onnx --saveEngine=out/depth.engine --minShapes=image:1x480x640x3 "
        "--optShapes=image:1x480x640x3 --maxShapes=image:8x480x640x3 --stronglyTyped"
    )
