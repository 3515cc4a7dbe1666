"""CLIP's text tower and contrastive loss, as open_clip has them; only ever used in training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import check_tensors
from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_training.distributed import rank, together, world_size

_HEADER_KEY = "clip_depth_training"
_HEAD_WIDTH = 64


_VOCABULARY = "transformer.token_embedding.weight"


class TextTower(nn.Module):
    """open_clip's text transformer and tokenizer with a learnt temperature.

    Attributes:
        seen: ``(vocabulary,)`` bool, the tokens that some caption had.
    """

    seen: Tensor

    def __init__(self, embed_dim: int, width: int, layers: int, context_length: int) -> None:
        super().__init__()
        from open_clip.tokenizer import SimpleTokenizer
        from open_clip.transformer import TextTransformer

        self.context_length = context_length
        self._tokenizer = SimpleTokenizer(context_length=context_length)
        self.transformer = TextTransformer(
            context_length=context_length,
            vocab_size=self._tokenizer.vocab_size,
            width=width,
            heads=max(1, width // _HEAD_WIDTH),
            layers=layers,
            output_dim=embed_dim,
        )
        self.logit_scale = nn.Parameter(torch.tensor(float(np.log(1 / 0.07))))
        self.register_buffer("seen", torch.zeros(self._tokenizer.vocab_size, dtype=torch.bool))
        self._tokens = lru_cache(maxsize=200_000)(self._tokenize)

    def forward(self, captions: Sequence[str]) -> Tensor:
        """Returns unnormalised embeddings ``(B, E)`` of ``captions``."""
        tokens = torch.stack([self._tokens(caption) for caption in captions])
        return self.transformer(tokens.to(self.logit_scale.device))

    def contrastive_loss(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Returns CLIP's symmetric cross-entropy of image embeddings ``(B, E)`` against their captions.

        With several processes each picture is told from the captions of all of them.
        """
        from open_clip.loss import ClipLoss

        loss = ClipLoss(gather_with_grad=True, rank=rank(), world_size=world_size() if together() else 1)
        texts = F.normalize(self(captions).float(), dim=-1)
        scale = self.logit_scale.clamp(max=float(np.log(100))).exp()
        with torch.autocast(images.device.type, enabled=False):
            return loss(F.normalize(images.float(), dim=-1), texts, scale)

    def retrieval(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Returns the share of images whose own caption is the nearest of the batch."""
        similar = F.normalize(images.float(), dim=-1) @ F.normalize(self(captions).float(), dim=-1).T
        return (similar.argmax(dim=1) == torch.arange(len(images), device=images.device)).float().mean()

    def _tokenize(self, caption: str) -> Tensor:
        tokens = self._tokenizer([caption])[0]
        self.seen[tokens.to(self.seen.device)] = True
        return tokens


def save_training_parts(path: Path, text: TextTower, probe: nn.Module, config: dict[str, Any]) -> None:
    """Writes the text tower and the probe, which the node has no use for, with the configuration they belong to.

    Of the vocabulary only the tokens that captions had are written: the others are as random as they were.
    """
    tensors = {f"text.{name}": value for name, value in text.state_dict().items()}
    tensors[f"text.{_VOCABULARY}"] = tensors[f"text.{_VOCABULARY}"][text.seen]
    tensors |= {f"probe.{name}": value for name, value in probe.state_dict().items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_HEADER_KEY: json.dumps(config)})


def load_training_parts(path: Path, text: TextTower, probe: nn.Module | None = None) -> None:
    """Loads what :func:`save_training_parts` wrote.

    Raises:
        BadInput: a missing, damaged or foreign file, or one of other sizes.
    """
    tensors, _ = read_training_parts(path)
    vocabulary, seen = tensors.get(f"text.{_VOCABULARY}"), tensors.get("text.seen")
    if vocabulary is not None and seen is not None and seen.shape == text.seen.shape:
        whole = text.transformer.token_embedding.weight.detach().clone()
        whole[seen] = vocabulary.to(whole)
        tensors[f"text.{_VOCABULARY}"] = whole
    for prefix, module in (("text.", text), ("probe.", probe)):
        if module is None:
            continue
        part = {
            name[len(prefix) :]: value.float() if value.is_floating_point() else value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        check_tensors(part, module.state_dict(), f"{path} does not fit the recipe's {prefix[:-1]} sizes")
        module.load_state_dict(part)


def read_training_parts(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the tensors of :func:`save_training_parts` and the configuration they belong to.

    Raises:
        BadInput: a missing, damaged or foreign file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()[_HEADER_KEY])  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path} is not a clip_training.safetensors of `clip-depth-train export` ({error}).") from error
