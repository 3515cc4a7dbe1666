"""Small networks with random weights whose depth varies, for tests."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

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


def published_state(keys: Path, seed: int = 0) -> dict[str, Tensor]:
    """A SPACE-CLIP checkpoint's state with every key and shape that ``keys`` lists of a published one, random values.

    The values are of such a size that the network's depth varies, by metres.
    """
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for line in keys.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind not in ("KEY", "CLIPKEY"):
            continue
        name, shape = rest.split(" ", 1)
        sizes = [int(size) for size in shape[shape.index("(") + 1 : shape.index(")")].split(",") if size.strip()]
        for layer in range(12) if ".layers.0." in name else (0,):  # all layers' keys are those of the first
            state[name.replace(".layers.0.", f".layers.{layer}.")] = _values(name, sizes, generator)
    state["depth_prediction_head.3.weight"] *= 60
    state["depth_prediction_head.3.bias"].fill_(3.0)
    return state


def _values(name: str, sizes: list[int], generator: torch.Generator) -> Tensor:
    if not sizes:
        return torch.zeros((), dtype=torch.int64)
    if len(sizes) == 1 and name.endswith(("weight", "running_var")):  # of a normalisation
        return torch.rand(sizes, generator=generator) + 0.5
    decoder = len(sizes) > 1 and not name.startswith("clip_vision_model")
    spread = (3 * torch.Size(sizes[1:]).numel()) ** -0.5 if decoder else 0.02  # as PyTorch and CLIP begin
    return spread * torch.randn(sizes, generator=generator)
