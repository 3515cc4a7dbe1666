"""Small networks with random weights whose depth varies, for tests."""

from __future__ import annotations

import torch
from torch import nn

from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.heads.space_clip import SpaceClipConfig, SpaceClipHead

TINY = EncoderConfig(
    name="tiny",
    vision={"image_size": 64, "patch_size": 16, "width": 32, "layers": 12, "head_width": 16},
    embed_dim=24,
    activation="quick_gelu",
)


def tiny_encoder(seed: int = 0) -> SharedEncoder:
    """A CLIP ViT of 12 blocks, 32 wide, 64x64 pixels."""
    torch.manual_seed(seed)
    return SharedEncoder(TINY)


def varied_head(config: SpaceClipConfig, seed: int = 0) -> SpaceClipHead:
    """A SPACE-CLIP head with random batch norms and a positive last bias: a fresh one gives 0 everywhere."""
    torch.manual_seed(seed)
    head = SpaceClipHead(config)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    last = head.depth_head[-2]
    nn.init.constant_(last.bias, 3.0)
    return head.requires_grad_(False).eval()


def tiny_head(seed: int = 0, **changes: object) -> SpaceClipHead:
    """A SPACE-CLIP head for :func:`tiny_encoder`."""
    return varied_head(SpaceClipConfig(width=32, channels=(16, 12, 8, 8), film_hidden=16, **changes), seed)
