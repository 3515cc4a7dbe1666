"""Early convolutions in front of a ViT's blocks.

A patch projection of 16 x 16 pixels keeps ``width`` numbers of 768, linearly: in a narrow tower the detail inside a
patch is lost before the first block. "Early Convolutions Help Transformers See Better" (arXiv 2106.14881).
"""

from __future__ import annotations

from torch import nn

from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.errors import BadInput

CONVOLUTIONAL = "convolutional"
"""Value of ``stem`` in an encoder's ``vision`` section."""
_NARROWEST = 24


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
    """Returns 3 x 3 convolutions of stride 2 up to one token a patch, then a 1 x 1 convolution to ``width`` channels.

    Channels double up to ``width``; batch norm and ReLU follow each 3 x 3.
    """
    layers: list[nn.Module] = []
    inputs, steps = 3, patch.bit_length() - 1
    for step in range(steps):
        outputs = max(width >> (steps - 1 - step), min(_NARROWEST, width))
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers, nn.Conv2d(inputs, width, 1))
