"""Published names of the Q-Former's tensors (LAVIS, Hugging Face's InstructBLIP and BLIP-2) to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# LAVIS's and Hugging Face's module names to ours, tried in this order.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"^(Qformer\.bert|qformer)\.", ""),
    (r"^vision_model\.post_layernorm\.", "ln_vision."),
    (r"^embeddings\.(LayerNorm|layernorm)\.", "norm."),
    (r"^layernorm\.", "norm."),
    (r"^embeddings\.(word|position)_embeddings\.", r"\1_embeddings."),
    (r"^encoder\.layer\.(\d+)\.", r"layers.\1."),
    (r"\.crossattention\.", ".cross_attention."),
    (r"attention\.(self|attention)\.(query|key|value)\.", r"attention.\2."),
    (r"attention\.output\.dense\.", "attention.output."),
    (r"attention\.output\.LayerNorm\.", "attention.norm."),
    (r"\.intermediate_query\.dense\.", ".query_feed_forward.expand."),
    (r"\.output_query\.dense\.", ".query_feed_forward.contract."),
    (r"\.output_query\.LayerNorm\.", ".query_feed_forward.norm."),
    (r"\.intermediate\.dense\.", ".text_feed_forward.expand."),
    (r"\.output\.dense\.", ".text_feed_forward.contract."),
    (r"\.output\.LayerNorm\.", ".text_feed_forward.norm."),
)
_JOINED = re.compile(r"(.*\.)?(cross_attention|attention)\.(query|key|value)\.(weight|bias)$")


def qformer_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns published tensors of a Q-Former under our names, queries, keys and values joined as we have them."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        if not name.endswith("position_ids"):  # an index buffer
            renamed[name] = tensor
    last = max((int(name.split(".")[1]) for name in renamed if name.startswith("layers.")), default=0)
    result: dict[str, Tensor] = {}
    for name, tensor in renamed.items():
        part = _JOINED.match(name)
        if name == "query_tokens":
            result[name] = tensor.flatten(0, -2)
        elif name.startswith(f"layers.{last}.text_feed_forward."):
            continue  # nobody reads the text that comes out
        elif part is None or (part[2] == "cross_attention" and part[3] == "query"):
            result[name] = tensor
        elif part[3] == "key":
            names = ("query", "key", "value") if part[2] == "attention" else ("key", "value")
            found = [renamed.get(name.replace(".key.", f".{kind}.")) for kind in names]
            parts = [one for one in found if one is not None and one.shape == tensor.shape]
            if len(parts) == len(names):  # else the joined one is found missing
                joined = "qkv" if part[2] == "attention" else "key_value"
                result[name.replace(".key.", f".{joined}.")] = torch.cat(parts)
    return result
