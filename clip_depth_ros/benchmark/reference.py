"""The reference of every ratio: the same weights in plain fp32 PyTorch, as one would write it from the papers.

The encoder is transformers' ``CLIPVisionModel`` that keeps all of its hidden states, the head runs as it is defined
(batch norms of their own, contiguous channels first), one operation after the other.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.heads import DepthHead
from clip_depth_ros.errors import BadInput

READS_STATES = ("space_clip", "depth_blip2")
"""Heads that need nothing of an encoder but its hidden states and its pooled token."""
_ACTIVATIONS = {"gelu": "gelu", "quick_gelu": "quick_gelu", "gelu_tanh": "gelu_pytorch_tanh"}
_OUTSIDE = {
    "class_embedding": "embeddings.class_embedding",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_INSIDE = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
# What scales a branch in open_clip's block: Hugging Face's has no such parameter, so the branch's last layer takes it.
_SCALES = {"attn.out_proj": "ls_1.gamma", "mlp.c_proj": "ls_2.gamma"}
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+?)\.?(?:in_proj_)?(weight|bias)$")


def hugging_face_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a CLIP ViT's tensors under Hugging Face's names (without ``vision_model.``) from open_clip's.

    Joined queries, keys and values are taken apart and layer scales multiplied in. The projection to the joint space
    and a convolutional stem, for which a ``CLIPVisionModel`` has no place, are left out.
    """
    found = {_OUTSIDE[name]: tensor for name, tensor in tensors.items() if name in _OUTSIDE}
    for name, tensor in tensors.items():
        match = _BLOCK.match(name)
        if match is None:
            continue
        number, part, kind = match.groups()
        layer = f"encoder.layers.{number}"
        if part == "attn":
            for letter, piece in zip("qkv", tensor.chunk(3)):
                found[f"{layer}.self_attn.{letter}_proj.{kind}"] = piece
            continue
        scale = tensors.get(f"transformer.resblocks.{number}.{_SCALES.get(part, '')}")
        if scale is not None:
            tensor = tensor * (scale[:, None] if tensor.ndim == 2 else scale)
        found[f"{layer}.{_INSIDE[part]}.{kind}"] = tensor
    return found


class _Stem(nn.Module):
    """A convolutional stem where Hugging Face's embedding expects its patch projection."""

    def __init__(self, stem: nn.Sequential) -> None:
        super().__init__()
        self.layers = stem

    @property
    def weight(self) -> Any:
        """The last convolution's: the embedding reads its type."""
        return self.layers[-1].weight

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns the patches' features ``(B, D, rows, columns)``."""
        return self.layers(pixels)


class PlainEncoder(nn.Module):
    """A ``CLIPVisionModel`` with the weights of a :class:`SharedEncoder`, which is left as it is."""

    def __init__(self, encoder: SharedEncoder) -> None:
        """Builds it in fp32.

        Raises:
            BadInput: the encoder is another than a CLIP ViT, or its weights do not fit.
        """
        super().__init__()
        from transformers import CLIPVisionModel

        tensors = hugging_face_tensors(encoder.vision_tensors())
        self.model = CLIPVisionModel(_model_config(encoder.config, tensors)).float()
        stem = getattr(encoder.visual, "conv1", None)
        # transformers 4 has a level more than 5.
        inner = getattr(self.model, "vision_model", self.model)
        if isinstance(stem, nn.Sequential):
            inner.embeddings.patch_embedding = _Stem(copy.deepcopy(stem))
        expected = {name for name, _ in inner.named_parameters() if "patch_embedding.layers" not in name}
        if expected != set(tensors):
            odd = sorted(expected ^ set(tensors))[0]
            raise BadInput(f"Encoder {encoder.config.name} is no plain CLIP ViT ({odd}): give --no-reference.")
        inner.load_state_dict(tensors, strict=False)
        self.size = encoder.config.image_size
        self.patch = encoder.config.vision["patch_size"]

    def forward(self, pixels: Tensor) -> EncoderFeatures:
        """Encodes normalised ``(B, 3, h, w)``, all blocks, and keeps every hidden state."""
        height, width = pixels.shape[-2:]
        out = self.model(
            pixels, output_hidden_states=True, interpolate_pos_encoding=(height, width) != self.size, return_dict=True
        )
        grid = (height // self.patch, width // self.patch)
        return EncoderFeatures(dict(enumerate(out.hidden_states)), grid, 1, pooled=out.pooler_output)


def _model_config(config: EncoderConfig, tensors: Mapping[str, Tensor]) -> Any:
    from transformers import CLIPVisionConfig

    vision = config.vision
    side, other = config.image_size
    if side != other or "encoder.layers.0.mlp.fc1.weight" not in tensors:
        raise BadInput(f"Encoder {config.name} is no square CLIP ViT of open_clip's: give --no-reference.")
    hidden, width = tensors["encoder.layers.0.mlp.fc1.weight"].shape
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=vision["layers"],
        num_attention_heads=width // vision.get("head_width", 64),
        image_size=side,
        patch_size=vision["patch_size"],
        hidden_act=_ACTIVATIONS[config.activation],
    )


class PlainNetwork(nn.Module):
    """Pixels to depth, and picture to depth, without anything that makes it fast."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, encoder: SharedEncoder, head: DepthHead, normalised: EncoderConfig, size: tuple[int, int]
    ) -> None:
        """Takes copies of the weights.

        Args:
            encoder: the encoder, in fp32 on the CPU.
            head: the head, likewise; its depth is taken as it is, whatever the lens.
            normalised: holds the mean and deviation of the input.
            size: (height, width) pixels of the encoder's input.

        Raises:
            BadInput: a head that needs more than hidden states, or another encoder than a CLIP ViT.
        """
        super().__init__()
        if head.method not in READS_STATES:
            raise BadInput(
                f"Plain PyTorch is written here for the heads {' and '.join(READS_STATES)}, not for {head.method}: "
                "give --no-reference."
            )
        self.encoder = PlainEncoder(encoder)
        self.head = copy.deepcopy(head).float()
        self.size = size
        self.register_buffer("mean", torch.tensor(normalised.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(normalised.std).view(3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    @torch.no_grad()
    def forward(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        """Returns depth ``(B, H, W)`` metres at ``size`` from normalised float32 pixels ``(B, 3, h, w)``."""
        depth: Tensor = self.head(self.encoder(pixels), size).depth
        return depth

    def pixels(self, images: Tensor) -> Tensor:
        """Returns normalised ``(B, 3, h, w)`` from uint8 RGB ``(B, H, W, 3)``: bicubic, antialiased, whole levels."""
        values = images.to(self.mean.device).permute(0, 3, 1, 2).float()
        values = F.interpolate(values, self.size, mode="bicubic", antialias=True, align_corners=False)
        return (values.round().clamp(0, 255) / 255 - self.mean) / self.std

    @torch.no_grad()
    def from_host(self, image: np.ndarray) -> np.ndarray:
        """Returns depth ``(H, W)`` float32 metres in host memory from uint8 RGB ``(H, W, 3)`` there."""
        depth: Tensor = self(self.pixels(torch.from_numpy(image)[None]), image.shape[:2])
        return depth[0].cpu().numpy()
