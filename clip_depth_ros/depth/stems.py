"""Early convolutions in front of a ViT's blocks.

A patch projection of 16 x 16 pixels keeps ``width`` numbers of 768, linearly, and a ViT from random weights learns
slowly to look around. Convolutions do both from the first step: the hybrid of "An Image is Worth 16x16 Words"
(arXiv 2010.11929), and "Early Convolutions Help Transformers See Better" (arXiv 2106.14881).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.errors import BadInput

CONVOLUTIONAL = "convolutional"
"""Value of ``stem`` in an encoder's ``vision`` section."""
_FIRST_CHANNELS = 24
_RESIDUALS = (0, 1, 2)  # after the first, the second and every later halving: high resolutions are dear
_CONTEXT_CHANNELS = 256


def set_stem(visual: nn.Module, stem: str, config: EncoderConfig) -> None:
    """Replaces a ViT's patch projection by early convolutions; ``conv1`` stays the name.

    Raises:
        BadInput: an unknown stem, another tower than open_clip's ViT, or patches whose side is no power of two.
    """
    patch = config.vision.get("patch_size", 0)
    if stem != CONVOLUTIONAL or type(visual).__name__ != "VisionTransformer" or patch < 2 or patch & (patch - 1):
        raise BadInput(
            f"Encoder {config.name} asks for the stem {stem!r} with patches of {patch}: only open_clip's ViT has one, "
            f"named {CONVOLUTIONAL!r}, with patches of 2, 4, 8, 16 or 32 pixels."
        )
    visual.conv1 = convolutional_stem(config.vision["width"], patch)


def convolutional_stem(width: int, patch: int) -> nn.Sequential:
    """Returns a residual network that gives ``width`` channels, one token a patch.

    Each halving of the resolution is a 3 x 3 convolution of stride 2 with twice the channels (24, 48, 96, 192, ...)
    and residual blocks; then :class:`Context`, then a 1 x 1 convolution.
    """
    layers: list[nn.Module] = []
    inputs = 3
    for step in range(patch.bit_length() - 1):
        outputs = _FIRST_CHANNELS << step
        layers += _normalised(inputs, outputs, stride=2)
        layers += [Residual(outputs) for _ in range(_RESIDUALS[min(step, len(_RESIDUALS) - 1)])]
        inputs = outputs
    return nn.Sequential(*layers, Context(inputs, _CONTEXT_CHANNELS), nn.Conv2d(_CONTEXT_CHANNELS, width, 1))


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside the identity, which they leave alone at first (arXiv 1706.02677)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_normalised(channels, channels), *_normalised(channels, channels)[:-1])
        nn.init.zeros_(self.body.get_submodule("4").get_parameter("weight"))

    def forward(self, values: Tensor) -> Tensor:
        """Returns values of the same shape, ``(B, C, H, W)``."""
        return F.relu(values + self.body(values))


class Context(nn.Module):
    """What surrounds each patch: the next coarser resolution and, within it, the mean of the whole picture."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.coarse = nn.Sequential(*_normalised(inputs, channels, stride=2), Residual(channels), Residual(channels))
        self.whole = nn.Linear(channels, channels)
        self.joined = nn.Sequential(*_normalised(inputs + channels, channels))

    def forward(self, values: Tensor) -> Tensor:
        """Returns ``(B, channels, H, W)`` from ``(B, inputs, H, W)``."""
        coarse = self.coarse(values)
        coarse = coarse + self.whole(coarse.mean((2, 3)))[:, :, None, None]
        return self.joined(torch.cat([values, F.interpolate(coarse, values.shape[-2:])], dim=1))


def _normalised(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """Returns a 3 x 3 convolution, batch norm and ReLU."""
    return [
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]
