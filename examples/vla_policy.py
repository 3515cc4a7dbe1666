"""A VLA policy's perception in one process: depth and CLIP tokens from one encode of the camera picture."""

from __future__ import annotations

import sys

import cv2
import torch

from clip_depth_ros import DepthEstimator


def observe(estimator: DepthEstimator, rgb, intrinsics=None) -> dict[str, torch.Tensor]:  # noqa: ANN001
    """Returns what a policy reads for one picture: (H, W) uint16 mm depth and (N, D) CLIP tokens, CLS first."""
    result = estimator(rgb, intrinsics)
    prediction = result["space_clip"]
    nearest, farthest = prediction.valid_range
    valid = (prediction.depth >= nearest) & (prediction.depth <= farthest)
    depth_mm = torch.where(valid, prediction.depth * 1000, 0).round().to(torch.uint16)
    return {"observation.depth": depth_mm[0], "observation.clip_tokens": result.tokens[0]}


if __name__ == "__main__":
    estimator = DepthEstimator.from_config("package://clip_depth_ros/config/demo.yaml")
    picture = cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB)
    for name, value in observe(estimator, picture).items():
        print(name, tuple(value.shape), value.dtype)
