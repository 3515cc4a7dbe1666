"""The image tower of a Hugging Face BLIP-2 folder under open_clip's names.

It is EVA-CLIP's ViT-g without its last block, whose norm is BLIP-2's own: a ViT without the norm before its blocks,
which open_clip's own ViT is too when asked. Its patch projection has a bias, which open_clip's has not: it goes into
the position embedding, to which it is added anyway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.importers.blip2_files import Blip2File
from clip_depth_ros.errors import BadInput

_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$")
_LAYER_NAMES = {
    "self_attn.projection": "attn.out_proj.",
    "self_attn.qkv": "attn.in_proj_",
    "layer_norm1": "ln_1.",
    "layer_norm2": "ln_2.",
    "mlp.fc1": "mlp.c_fc.",
    "mlp.fc2": "mlp.c_proj.",
}
_PATCHES = "embeddings.patch_embedding."
_INSTEAD = "give --encoder-model and --encoder-weights, such as EVA01-g-14 and laion400m_s11b_b41k"


def brought_tower(file: Blip2File, source: Path) -> SharedEncoder:
    """Returns the image tower that the folder ``source`` brings along.

    Raises:
        BadInput: it is of a kind that cannot be served.
    """
    tensors = dict(file.vision)
    activation = str(file.vision_config.get("hidden_act", "gelu"))
    try:
        config = EncoderConfig(
            name=f"BLIP-2 ViT {tensors['embeddings.class_embedding'].shape[-1]} wide",
            vision=_vision(tensors, int(file.vision_config.get("num_attention_heads", 16)), file.vision_norm_eps),
            embed_dim=tensors["embeddings.class_embedding"].shape[-1],
            activation=activation,
            mean=file.mean,
            std=file.std,
            pretrained=f"imported from {source.name}",
        )
        tensors = _open_clip_names(tensors)
    except (KeyError, ValueError, IndexError) as error:
        raise BadInput(f"The image tower in {source} is not BLIP-2's ({error} is missing): {_INSTEAD}.") from error
    encoder = SharedEncoder(config)
    encoder.load_vision(tensors, str(source))
    return encoder


def _vision(tensors: Mapping[str, Tensor], heads: int, norm_eps: float) -> dict[str, Any]:
    width, _, patch, _ = tensors[f"{_PATCHES}weight"].shape
    hidden = tensors["encoder.layers.0.mlp.fc1.weight"].shape[0]
    layers = 1 + max(int(found[1]) for found in map(_LAYER.match, tensors) if found)
    side = round((tensors["embeddings.position_embedding"].shape[-2] - 1) ** 0.5)
    ratio = hidden / width
    return {
        "image_size": side * patch,
        "patch_size": patch,
        "width": width,
        "layers": layers,
        "head_width": width // heads,
        # open_clip cuts width * ratio off to a whole number.
        "mlp_ratio": ratio if int(width * ratio) == hidden else (hidden + 0.5) / width,
        "no_ln_pre": True,
        "norm_kwargs": {"eps": norm_eps},
    }


def _open_clip_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    positions = tensors.pop("embeddings.position_embedding")[0].float().clone()
    bias = tensors.pop(f"{_PATCHES}bias", None)
    if bias is not None:
        positions[1:] += bias.float()
    result = {
        "class_embedding": tensors.pop("embeddings.class_embedding").flatten(),
        "positional_embedding": positions,
        "conv1.weight": tensors.pop(f"{_PATCHES}weight"),
        "ln_post.weight": tensors.pop("post_layernorm.weight"),
        "ln_post.bias": tensors.pop("post_layernorm.bias"),
    }
    for name, tensor in tensors.items():
        layer = _LAYER.match(name)
        if layer and layer[2] in _LAYER_NAMES:
            result[f"transformer.resblocks.{layer[1]}.{_LAYER_NAMES[layer[2]]}{layer[3]}"] = tensor
        else:
            result[name] = tensor
    for name in [name for name in result if name.endswith("attn.in_proj_weight")]:
        width = result[name].shape[1]
        result.setdefault(name.replace("weight", "bias"), torch.zeros(3 * width))
    return result
