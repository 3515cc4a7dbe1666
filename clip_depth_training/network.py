"""Encoder and head as one trainable network, with the preprocessing the node uses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.heads.space_clip import SpaceClipConfig, SpaceClipHead
from clip_depth_ros.depth.preprocess import Preprocess
from clip_depth_training.data_sets.base import Batch


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a small CLIP image tower and of the SPACE-CLIP head on it.

    Attributes:
        image_size: encoder input (pixels, square).
        width: channels of a hidden state; heads have 64 channels each.
        layers: blocks; 12, so that the published layer numbers apply.
        patch_size: pixels of a patch.
        embed_dim: width of the joint embedding.
        channels: decoder channels, coarse to fine.
        film_hidden: hidden width of the FiLM generators.
        valid_range: (nearest, farthest) metres.
        canonical_focal_px: focal length in encoder-input pixels that predictions are for.
    """

    image_size: int = 128
    width: int = 192
    layers: int = 12
    patch_size: int = 16
    embed_dim: int = 192
    channels: tuple[int, int, int, int] = (64, 32, 16, 8)
    film_hidden: int = 64
    valid_range: tuple[float, float] = (0.1, 10.0)
    canonical_focal_px: float = 128.0

    def encoder_config(self, name: str) -> EncoderConfig:
        """Returns the encoder's architecture in open_clip's terms."""
        vision = {
            "image_size": self.image_size,
            "layers": self.layers,
            "width": self.width,
            "head_width": min(64, self.width),
            "patch_size": self.patch_size,
        }
        return EncoderConfig(name=name, vision=vision, embed_dim=self.embed_dim)

    def head_config(self) -> SpaceClipConfig:
        """Returns the head's sizes; on a tower of other depth the published layer numbers are scaled."""
        semantic = tuple(round(layer * self.layers / 12) for layer in (12, 9, 6, 3))
        structural = tuple(round(layer * self.layers / 12) for layer in (2, 1, 0))
        return SpaceClipConfig(
            width=self.width,
            channels=self.channels,
            film_hidden=self.film_hidden,
            semantic_layers=semantic,  # type: ignore[arg-type]
            structural_layers=structural,  # type: ignore[arg-type]
            valid_range=self.valid_range,
        )


class LivingReLU(nn.Module):
    """ReLU whose gradient does not die in training.

    Pixels of the last stage whose depth is 0 get no gradient from a ReLU, and never come back. In training the part
    below ``knee`` (metres) is a positive exponential that joins on smoothly; in evaluation this is ReLU itself, as the
    node's head has it.
    """

    def __init__(self, knee: float = 0.5) -> None:
        super().__init__()
        self.knee = knee

    def forward(self, depth: Tensor) -> Tensor:
        """Returns positive depth (training) or depth of 0 and above (evaluation), in the shape given."""
        if not self.training:
            return torch.relu(depth)
        below = self.knee * torch.exp((depth / self.knee - 1).clamp_max(0))
        return torch.where(depth > self.knee, depth, below)


class DepthNetwork(nn.Module):
    """The trainable encoder with its head; predicts depth for the canonical focal length."""

    def __init__(self, config: NetworkConfig, name: str = "custom") -> None:
        super().__init__()
        self.config = config
        self.encoder = SharedEncoder(config.encoder_config(name))
        self.encoder.requires_grad_(True)
        # No depth depends on the projection to the joint space, and nothing here trains it.
        self.encoder.visual.get_parameter("proj").requires_grad_(False)
        self.head = SpaceClipHead(config.head_config())
        self.preprocess = Preprocess(self.encoder.config)
        self._start_at_typical_depth(2.0)
        for head in (self.head.depth_head, *self.head.auxiliary_heads):
            setattr(head, str(len(head) - 1), LivingReLU())

    def _start_at_typical_depth(self, metres: float) -> None:
        """Sets the last biases to a typical depth: from 0 the final ReLUs would start dead in half of all cases."""
        with torch.no_grad():
            for head in (self.head.depth_head, *self.head.auxiliary_heads):
                head.get_parameter("3.bias").fill_(metres)

    def forward(self, images: Tensor, output_size: tuple[int, int]) -> tuple[Tensor, list[Tensor]]:
        """Returns canonical depth and auxiliary depths ``(B, H, W)`` for uint8 RGB ``images`` ``(B, H, W, 3)``."""
        features = self.encoder.encode(self.preprocess(images), self.head.layers, pooled=self.head.needs_pooled)
        if torch.is_autocast_enabled(images.device.type):
            features = features.to(torch.get_autocast_dtype(images.device.type))
        return self.head.training_outputs(features, output_size)

    def zoom(self, batch: Batch) -> Tensor:
        """Returns f / canonical of each picture, ``(B, 1, 1)``: metres = canonical depth * zoom."""
        height, width = batch.images.shape[1:3]
        size = self.preprocess.size
        scale = (size[0] / height * size[1] / width) ** 0.5
        return (batch.focal * scale / self.config.canonical_focal_px)[:, None, None]

    @torch.no_grad()
    def metres(self, batch: Batch) -> Tensor:
        """Returns predicted depth in metres ``(B, H, W)`` at the pictures' size."""
        depth, _ = self(batch.images, tuple(batch.images.shape[1:3]))
        return depth * self.zoom(batch)
