"""Camera pictures to encoder input; the node and the training package both use this code."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.encoder_config import EncoderConfig


class Preprocess(nn.Module):
    """Resizes to the encoder's input and normalises.

    The resize is bicubic and antialiased on 8-bit values (PIL's BICUBIC within two levels, nearly always within one),
    aspect ratio not kept and nothing cropped, as SPACE-CLIP does it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: EncoderConfig, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.size = size or config.image_size
        self.register_buffer("mean", torch.tensor(config.mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(3, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Returns ``(B, 3, h, w)`` float32, normalised.

        Args:
            images: uint8 RGB ``(B, H, W, 3)``, or a sequence of such batches whose sizes may differ.
        """
        if isinstance(images, Tensor):
            resized = self._resize(images)
        else:
            resized = torch.cat([self._resize(image) for image in images])
        return (resized - self.mean) / self.std

    def _resize(self, images: Tensor) -> Tensor:
        pixels = images.to(self.mean.device, non_blocking=True).permute(0, 3, 1, 2)
        if pixels.device.type == "cpu":
            # torch's 8-bit kernel: the same fixed-point arithmetic as PIL, several times faster than float.
            if pixels.shape[-2:] != self.size:
                pixels = F.interpolate(pixels, self.size, mode="bicubic", antialias=True)
            return pixels.float()
        pixels = F.interpolate(pixels.float(), self.size, mode="bicubic", antialias=True)
        return pixels.round_().clamp_(0, 255)
