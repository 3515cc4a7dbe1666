"""The Python door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import TINY, tiny_encoder, tiny_head

from clip_depth_ros import DepthEstimator
from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
from clip_depth_ros.errors import BadInput


@pytest.fixture
def estimator() -> DepthEstimator:
    return DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, device="cpu")


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def counted(estimator: DepthEstimator) -> list[int]:
    """Batch sizes the encoder was run with from now on."""
    batches: list[int] = []
    estimator.encoder.register_forward_hook(lambda module, inputs, output: batches.append(len(inputs[0])))
    return batches


def test_a_batch_gives_depth_and_features_of_one_encode(estimator: DepthEstimator) -> None:
    batches = counted(estimator)
    result = estimator(pictures(3, 48, 80, 3))
    assert batches == [3]
    prediction = result["space_clip"]
    assert prediction.depth.shape == (3, 48, 80)
    assert prediction.depth.dtype == torch.float32
    assert prediction.depth.isfinite().all()
    assert prediction.depth.std() > 0
    assert prediction.valid_range == (0.001, 10.0)
    assert result.tokens.shape == (3, 17, 32)
    assert torch.equal(result.pooled, result.tokens[:, 0])
    assert result.embedding.shape == (3, 24)
    assert list(result) == ["space_clip"]
    assert len(result) == 1


def test_it_is_encoder_and_head_by_hand(estimator: DepthEstimator) -> None:
    images = pictures(1, 64, 64, 3)
    mean, std = (torch.tensor(values)[:, None, None] for values in (TINY.mean, TINY.std))
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
    encoder, head = tiny_encoder(), tiny_head()
    with torch.no_grad():
        expected = head(encoder(pixels, head.layers, pooled=True), (30, 50)).depth
    actual = estimator(images, output_size=(30, 50))["space_clip"].depth
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_imagenets_normalisation_by_hand(tmp_path: Path) -> None:
    images = pictures(2, 64, 64, 3)  # of the encoder's size: nothing is resized
    by_hand = (images.transpose(0, 3, 1, 2) / 255 - np.reshape([0.485, 0.456, 0.406], (3, 1, 1))) / np.reshape(
        [0.229, 0.224, 0.225], (3, 1, 1)
    )
    save_checkpoint(tmp_path / "w.safetensors", CheckpointMetadata("space_clip", TINY), tiny_head(), tiny_encoder())
    config = tmp_path / "node.yaml"
    text = f"/**:\n  ros__parameters:\n    weights: ['{tmp_path}/w.safetensors']\n    encoder: {{normalisation: %s}}\n"
    config.write_text(text % "imagenet")
    estimator = DepthEstimator.from_config(config, device="cpu")
    seen: list[torch.Tensor] = []
    estimator.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    depth = estimator(images)["space_clip"].depth
    np.testing.assert_allclose(seen[0].numpy(), by_hand, atol=1e-5)
    own = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu")
    assert not torch.allclose(own(images)["space_clip"].depth, depth, atol=1e-3)
    config.write_text(text % "moon")
    with pytest.raises(BadInput, match=r"encoder\.normalisation is 'moon': it must be empty .* or imagenet\.$"):
        DepthEstimator.from_config(config)
    config.write_text(text % "3")
    with pytest.raises(BadInput, match=r"encoder\.normalisation in .* must be a string, not 3"):
        DepthEstimator.from_config(config)
    with pytest.raises(BadInput, match="Normalisation 'moon' is unknown"):
        DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu", normalisation="moon")


def test_one_picture_torch_and_read_only_views_are_taken(estimator: DepthEstimator) -> None:
    images = pictures(48, 64, 3)
    expected = estimator(images)["space_clip"].depth
    assert expected.shape == (1, 48, 64)
    view = np.frombuffer(images.tobytes(), np.uint8).reshape(48, 64, 3)
    assert not view.flags.writeable
    assert torch.equal(estimator(view)["space_clip"].depth, expected)
    assert torch.equal(estimator(torch.from_numpy(images))["space_clip"].depth, expected)
    padded = pictures(48, 70, 3)
    padded[:, :64] = images
    assert torch.equal(estimator(padded[:, :64])["space_clip"].depth, expected)
    bgr = images[..., ::-1].copy()
    assert torch.equal(estimator(bgr[..., ::-1])["space_clip"].depth, expected)


def test_cameras_of_different_sizes_share_one_encode(estimator: DepthEstimator) -> None:
    batches = counted(estimator)
    images = [pictures(48, 64, 3), pictures(90, 120, 3), pictures(48, 64, 3)[::-1].copy()]
    results = estimator.run(images)
    assert batches == [3]
    for image, result in zip(images, results):
        alone = estimator(image)
        assert result["space_clip"].depth.shape == (1, *image.shape[:2])
        torch.testing.assert_close(result["space_clip"].depth, alone["space_clip"].depth, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(result.pooled, alone.pooled, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(results[0]["space_clip"].depth, results[2]["space_clip"].depth)


def test_only_the_heads_asked_for_run(estimator: DepthEstimator) -> None:
    ran: list[int] = []
    estimator.heads["space_clip"].register_forward_hook(lambda *_: ran.append(1))
    features_only = estimator.run([pictures(48, 64, 3)], tokens=True, heads=())[0]
    assert ran == []
    assert len(features_only) == 0
    assert features_only.tokens is not None
    assert list(estimator.run([pictures(48, 64, 3)], heads=["space_clip"])[0]) == ["space_clip"]
    assert ran == [1]


def test_scale_follows_the_lens_only_where_a_head_says_for_which_it_is() -> None:
    image = pictures(48, 64, 3)
    intrinsics = np.array([[80.0, 0, 32], [0, 60.0, 24], [0, 0, 1]])
    # In the 64x64 input: fx = 80 * 64 / 64 = 80, fy = 60 * 64 / 48 = 80.
    plain = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu")
    canonical = DepthEstimator(
        tiny_encoder(), {"space_clip": tiny_head()}, "cpu", canonical_focal_px={"space_clip": 40.0}
    )
    expected = plain(image)["space_clip"].depth
    assert torch.equal(plain(image, intrinsics)["space_clip"].depth, expected)
    assert torch.equal(canonical(image)["space_clip"].depth, expected)
    torch.testing.assert_close(canonical(image, intrinsics)["space_clip"].depth, 2 * expected)
    camera = CameraModel.pinhole(64, 48, 80.0, 60.0, 32.0, 24.0)
    known, unknown = canonical.run([image, image], [camera, None])
    torch.testing.assert_close(known["space_clip"].depth, 2 * expected)
    torch.testing.assert_close(unknown["space_clip"].depth, expected)
    uncalibrated = CameraModel.pinhole(64, 48, 0.0, 0.0, 0.0, 0.0)
    torch.testing.assert_close(canonical.run([image], [uncalibrated])[0]["space_clip"].depth, expected)


def test_blocks_stop_early_when_nothing_needs_the_last_one() -> None:
    ran: list[int] = []
    encoder = tiny_encoder()
    for index, block in enumerate(encoder.visual.transformer.resblocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    head = tiny_head(film=False, semantic_layers=(4, 3, 2, 1))
    estimator = DepthEstimator(encoder, {"space_clip": head}, "cpu", "fp32")
    result = estimator(pictures(64, 64, 3), tokens=False)
    assert ran == [0, 1, 2, 3]
    assert result.tokens is None
    assert estimator(pictures(64, 64, 3)).tokens is not None


@pytest.mark.parametrize("precision", ["bf16", "bf16_encoder", "fp16"])
def test_reduced_precision_gives_float32_depth_close_to_fp32(precision: str) -> None:
    image = pictures(2, 64, 64, 3)
    expected = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu", "fp32")(image)["space_clip"].depth
    reduced = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu", precision)
    depth = reduced(image)["space_clip"].depth
    assert depth.dtype == torch.float32
    error = (depth - expected).abs() / expected.clamp(min=0.1)
    assert 0 < error.quantile(0.99) < 0.02


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((48, 64), np.uint8),
        np.zeros((1, 48, 64, 4), np.uint8),
        np.zeros((1, 48, 64, 3), np.float32),
        np.zeros((1, 0, 64, 3), np.uint8),
        torch.zeros(1, 3, 48, 64, dtype=torch.uint8),
    ],
)
def test_other_images_are_refused(estimator: DepthEstimator, images) -> None:
    with pytest.raises(BadInput, match=r"must be uint8 RGB of shape \(B, H, W, 3\)"):
        estimator(images)


def test_other_intrinsics_and_no_heads_are_refused(estimator: DepthEstimator) -> None:
    for intrinsics in (np.eye(4), np.full((3, 3), np.nan), np.stack([np.eye(3)] * 3)):
        with pytest.raises(BadInput, match="Intrinsics must be finite"):
            estimator(pictures(2, 48, 64, 3), intrinsics)
    with pytest.raises(BadInput, match="at least one head"):
        DepthEstimator(tiny_encoder(), {})


def test_from_config(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "w.safetensors", CheckpointMetadata("space_clip", TINY), tiny_head(), tiny_encoder())
    config = tmp_path / "node.yaml"
    config.write_text(f"/**:\n  ros__parameters:\n    weights: ['{tmp_path}/w.safetensors']\n    device: cuda:99\n")
    image = pictures(48, 64, 3)
    result = DepthEstimator.from_config(config, device="cpu")(image)
    expected = DepthEstimator(tiny_encoder(), {"space_clip": tiny_head()}, "cpu")(image)
    assert torch.equal(result["space_clip"].depth, expected["space_clip"].depth)
    with pytest.raises(BadInput, match="usable CUDA devices"):
        DepthEstimator.from_config(config)
