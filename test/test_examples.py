"""The examples run and give what they promise."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from clip_depth_ros import DepthEstimator
from clip_depth_ros.resources import share_path

EXAMPLE = share_path("examples/vla_policy.py")


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_the_vla_example_gives_depth_and_tokens_of_one_encode(picture: np.ndarray) -> None:
    sys.path.insert(0, str(EXAMPLE.parent))
    try:
        from vla_policy import observe
    finally:
        sys.path.pop(0)
    estimator = DepthEstimator.from_config("package://clip_depth_ros/config/demo.yaml", device="cpu")
    encodes: list[int] = []
    estimator.encoder.register_forward_hook(lambda *_: encodes.append(1))
    observation = observe(estimator, picture)
    assert encodes == [1]
    depth, tokens = observation["observation.depth"], observation["observation.clip_tokens"]
    assert depth.shape == (48, 64)
    assert depth.dtype == torch.uint16
    prediction = estimator(picture)["space_clip"]
    nearest, farthest = prediction.valid_range
    valid = ((prediction.depth >= nearest) & (prediction.depth <= farthest))[0].numpy()
    metres = depth.numpy().astype(np.float32) / 1000
    np.testing.assert_allclose(metres[valid], prediction.depth[0].numpy()[valid], atol=6e-4)
    assert (depth.numpy()[~valid] == 0).all()
    rows, columns = (side // 16 for side in estimator.encoder.config.image_size)
    assert tokens.shape == (1 + rows * columns, estimator.encoder.width)


def test_the_vla_example_runs_from_the_command_line(picture: np.ndarray, tmp_path) -> None:
    cv2.imwrite(str(tmp_path / "view.png"), picture)
    done = subprocess.run(
        [sys.executable, EXAMPLE, tmp_path / "view.png"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "observation.depth (48, 64) torch.uint16" in done.stdout
