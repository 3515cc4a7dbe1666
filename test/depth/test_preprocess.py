"""Preprocessing against PIL, which the authors' pipeline uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import TINY
from PIL import Image

from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.preprocess import Preprocess


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("size", [(480, 640), (360, 540), (50, 40), (224, 224)])
def test_resize_is_pils_bicubic_within_two_levels(size: tuple[int, int]) -> None:
    rgb = picture(*size)
    preprocess = Preprocess(EncoderConfig("x", {"image_size": 224}, 8))
    pixels = preprocess(torch.from_numpy(rgb.copy())[None])
    assert pixels.shape == (1, 3, 224, 224)
    levels = pixels * preprocess.std + preprocess.mean
    expected = np.asarray(Image.fromarray(rgb).resize((224, 224), Image.Resampling.BICUBIC))
    difference = (levels[0].permute(1, 2, 0) - torch.from_numpy(expected.copy())).abs()
    assert difference.max() < 2.01
    assert (difference > 1.01).float().mean() < 1e-3
    assert difference.mean() < 0.1


def test_normalisation_is_clips() -> None:
    preprocess = Preprocess(TINY)
    white = preprocess(torch.full((1, 64, 64, 3), 255, dtype=torch.uint8))
    expected = (1 - torch.tensor(TINY.mean)) / torch.tensor(TINY.std)
    torch.testing.assert_close(white.amax(dim=(0, 2, 3)), expected)


def test_pictures_of_different_sizes_make_one_batch() -> None:
    preprocess = Preprocess(TINY)
    pictures = [torch.from_numpy(picture(48, 64, 1).copy())[None], torch.from_numpy(picture(100, 30, 2).copy())[None]]
    together = preprocess(pictures)
    assert together.shape == (2, 3, 64, 64)
    for index, image in enumerate(pictures):
        assert torch.equal(together[index], preprocess(image)[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_resize_agrees_with_cpu() -> None:
    preprocess = Preprocess(TINY)
    images = torch.from_numpy(picture(480, 640).copy())[None]
    on_cpu = preprocess(images)
    on_gpu = preprocess.cuda()(images).cpu()
    assert (on_cpu - on_gpu).abs().max() < 2 / 255 / min(TINY.std)
