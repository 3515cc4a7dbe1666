"""Hugging Face vision towers (CLIPVisionModel, SiglipVisionModel) under open_clip's names.

Expects the names without the ``vision_model.`` level, which some transformers versions write and others do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_depth_ros.errors import BadInput

_CLIP_NAMES = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.weight": "ln_pre.weight",
    "pre_layrnorm.bias": "ln_pre.bias",
    "post_layernorm.weight": "ln_post.weight",
    "post_layernorm.bias": "ln_post.bias",
}
_CLIP_LAYER = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_SIGLIP_NAMES = {
    "embeddings.patch_embedding.weight": "trunk.patch_embed.proj.weight",
    "embeddings.patch_embedding.bias": "trunk.patch_embed.proj.bias",
    "embeddings.position_embedding.weight": "trunk.pos_embed",
    "post_layernorm.weight": "trunk.norm.weight",
    "post_layernorm.bias": "trunk.norm.bias",
    "head.probe": "trunk.attn_pool.latent",
}
_SIGLIP_LAYER = {
    "self_attn.out_proj": "attn.proj",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_SIGLIP_POOL = {"attention.out_proj": "proj", "layernorm": "norm", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
_SIGLIP_TIMM = {(768, 16): "vit_base_patch16_siglip_224", (1024, 16): "vit_large_patch16_siglip_256"}


def vision_config(tensors: Mapping[str, Tensor], heads: int | None, source: Path) -> tuple[dict[str, Any], int, bool]:
    """Reads the architecture off the tensors' shapes.

    Args:
        tensors: the tower's tensors under Hugging Face's names.
        heads: attention heads, which no tensor tells; None for width / 64.
        source: the file, for errors.

    Returns:
        open_clip's ``vision_cfg``, the joint embedding's width (a placeholder for CLIP, whose vision model holds no
        projection) and whether the tower is SigLIP's.

    Raises:
        BadInput: the tensors are of neither kind.
    """
    try:
        width, _, patch, _ = tensors["embeddings.patch_embedding.weight"].shape
        positions = tensors["embeddings.position_embedding.weight"].shape[0]
        layers = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layers."))
        hidden = tensors["encoder.layers.0.mlp.fc1.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise BadInput(f"The image tower in {source} is neither CLIP's nor SigLIP's ({error} is missing).") from error
    siglip = "embeddings.class_embedding" not in tensors
    side = round((positions - (0 if siglip else 1)) ** 0.5)
    heads = heads or max(width // 64, 1)
    if width % heads:
        raise BadInput(
            f"The image tower in {source} is {width} wide, which {heads} attention heads do not divide: check "
            "--encoder-config."
        )
    if siglip:
        return _siglip_config(width, patch, layers, side, source), width, True
    vision = {
        "image_size": side * patch,
        "patch_size": patch,
        "width": width,
        "layers": layers,
        "head_width": width // heads,
        "mlp_ratio": hidden / width,
    }
    return vision, width, False


def _siglip_config(width: int, patch: int, layers: int, side: int, source: Path) -> dict[str, Any]:
    name = _SIGLIP_TIMM.get((width, patch))
    if name is None or layers not in (12, 24):
        raise BadInput(
            f"The SigLIP tower in {source} ({width} wide, patch {patch}, {layers} blocks) is not one of the "
            "published base or large towers."
        )
    return {"image_size": side * patch, "timm_model_name": name, "timm_pool": "map", "timm_proj": "none"}


def vision_tensors(tensors: Mapping[str, Tensor], siglip: bool) -> dict[str, Tensor]:
    """Returns the tower's tensors under open_clip's names (queries, keys and values joined)."""
    names, layer_names = (_SIGLIP_NAMES, _SIGLIP_LAYER) if siglip else (_CLIP_NAMES, _CLIP_LAYER)
    block = "trunk.blocks" if siglip else "transformer.resblocks"
    joined = "attn.qkv." if siglip else "attn.in_proj_"
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith("position_ids"):
            continue  # an index buffer that older transformers stored
        layer = re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$", name)
        if layer and layer[2] in layer_names:
            result[f"{block}.{layer[1]}.{layer_names[layer[2]]}.{layer[3]}"] = tensor
        elif layer and layer[2] == "self_attn.q_proj":
            parts = [tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            result[f"{block}.{layer[1]}.{joined}{layer[3]}"] = torch.cat(parts)
        elif not layer:
            result.update(_outside_blocks(name, tensor, names, siglip))
    return result


def _outside_blocks(name: str, tensor: Tensor, names: Mapping[str, str], siglip: bool) -> dict[str, Tensor]:
    if name in names:
        target = names[name]
        return {target: tensor[None] if target == "trunk.pos_embed" else tensor}
    if siglip and name.startswith("head.attention.in_proj_"):
        kind = name.rsplit("_", 1)[1]
        query, key_value = tensor.split([len(tensor) // 3, 2 * len(tensor) // 3])
        return {f"trunk.attn_pool.q.{kind}": query, f"trunk.attn_pool.kv.{kind}": key_value}
    if siglip and name.startswith("head."):
        module, kind = name[len("head.") :].rsplit(".", 1)
        if module in _SIGLIP_POOL:
            return {f"trunk.attn_pool.{_SIGLIP_POOL[module]}.{kind}": tensor}
    return {name: tensor}
