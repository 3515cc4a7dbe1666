"""Every fast path against plain fp32, on the demo's weights and at full size: how far depth may move."""

from __future__ import annotations

import shutil
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import published_state
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from clip_depth_ros import DepthEstimator
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.importers.space_clip import ImportOptions, import_space_clip
from clip_depth_ros.depth.precision import has_batch_norm
from clip_depth_ros.messages.images import decode_image
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.resources import resolve

HEADS = ("space_clip", "moa_depth_clip", "depth_blip2", "depth_clip")
BOUNDS = {"fp32": 1e-4, "bf16": 0.02, "bf16_encoder": 0.02, "fp16": 0.005}
"""Largest relative depth error of 99 % of the pixels."""
ON_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@cache
def frames() -> np.ndarray:
    """Four pictures of the shipped recording, ``(4, H, W, 3)``."""
    with BagReader(resolve("package://clip_depth_ros/models/demo/rooms_bag")) as bag:
        topic = bag.require_topic("image")
        images = [decode_image(bag.decode(message)) for message in bag.messages([topic.name])]
    return np.stack(images[:: len(images) // 4][:4])


def plain(config: EstimatorConfig) -> dict[str, torch.Tensor]:
    """Depth of the heads run by hand in fp32: nothing folded, no memory format, no path of the estimator's."""
    from clip_depth_ros.depth.loading import load_network
    from clip_depth_ros.depth.preprocess import Preprocess

    network = load_network(config)
    images = torch.from_numpy(frames())
    with torch.no_grad():
        pixels = Preprocess(network.encoder.config)(images)
        layers = {layer for head in network.heads.values() for layer in head.layers}
        features = network.encoder.float()(pixels, layers, pooled=True)
        return {name: head.float()(features, images.shape[1:3]).depth for name, head in network.heads.items()}


def p99(depth: torch.Tensor, expected: torch.Tensor) -> float:
    assert depth.shape == expected.shape
    assert expected.std() > 0.1  # metres: an error is only seen where depth varies
    return float(np.quantile(((depth - expected).abs() / expected.clamp(min=0.05)).numpy(), 0.99))


@pytest.fixture(scope="module")
def demo() -> dict[str, torch.Tensor]:
    return plain(EstimatorConfig(heads=HEADS, device="cpu"))


@pytest.mark.parametrize("precision", list(BOUNDS))
def test_the_demo_model_on_the_cpu(precision: str, demo: dict[str, torch.Tensor]) -> None:
    estimator = DepthEstimator.from_settings(EstimatorConfig(heads=HEADS, device="cpu", precision=precision))
    assert not has_batch_norm(estimator.encoder)
    assert not any(has_batch_norm(head) for head in estimator.heads.values())
    results = estimator(frames())
    for name, expected in demo.items():
        error = p99(results[name].depth, expected)
        assert error <= BOUNDS[precision], name
        # A path that changed nothing would be no path: 16 bits must be seen.
        assert precision == "fp32" or error > 0, name


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_the_compiled_demo_model_on_the_cpu(
    demo: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default_cache_dir())  # as importing torch leaves it
    settings = EstimatorConfig(device="cpu", precision="fp32", acceleration="compile")
    estimator = DepthEstimator.from_settings(settings)
    image = frames()[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*does not work here.*")
        estimator.prepare((image.shape[0], image.shape[1]))
        depth = estimator.run([image])[0]["space_clip"].depth
    assert "1 of 1" in estimator.path["acceleration"]
    assert estimator._runner._builder is None  # the picture did not start another: it ran what was made ready
    assert p99(depth, demo["space_clip"][:1]) <= BOUNDS["fp32"]
    assert list((tmp_path / "clip_depth_ros" / "inductor").rglob("*.so"))


@ON_GPU
@pytest.mark.parametrize("acceleration", ["eager", "cuda_graph", "compile"])
@pytest.mark.parametrize("precision", list(BOUNDS))
def test_the_demo_model_on_a_gpu(precision: str, acceleration: str, demo: dict[str, torch.Tensor]) -> None:
    settings = EstimatorConfig(heads=HEADS, device="cuda", precision=precision, acceleration=acceleration)
    estimator = DepthEstimator.from_settings(settings)
    for _ in range(2):  # the first run is eager, the second captured
        results = [estimator.run([image], tokens=True, to_host=True)[0] for image in frames()]
    for name, expected in demo.items():
        assert p99(torch.cat([result[name].depth for result in results]), expected) <= BOUNDS[precision], name


@pytest.fixture(scope="module")
def full_size(shared_golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SPACE-CLIP on ViT-B/16 in the authors' format, imported; random weights whose depth spans metres."""
    folder = tmp_path_factory.mktemp("full_size")
    source, path = folder / "full.pt", folder / "full.safetensors"
    torch.save({"model": published_state(shared_golden / "space_clip" / "official_keys_full_size.txt")}, source)
    import_space_clip(source, path, ImportOptions(valid_range=(0.001, 80.0), trained_on="kitti", heads=12))
    return path


@pytest.mark.parametrize("precision", list(BOUNDS))
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=ON_GPU)])
def test_an_imported_model_of_full_size(device: str, precision: str, full_size: Path) -> None:
    settings = EstimatorConfig(weights=(str(full_size),), device=device, precision=precision)
    expected = plain(settings)["space_clip"][:2]
    error = p99(DepthEstimator.from_settings(settings)(frames()[:2])["space_clip"].depth.cpu(), expected)
    assert error <= BOUNDS[precision]
    assert precision == "fp32" or error > 0
