"""Small open_clip models with random weights, in open_clip's own registry and files: no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip import factory, pretrained
from safetensors.torch import save_file

_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 32, "layers": 3, "head_width": 16},
    "text_cfg": _TEXT,
}
# 256 channels at the last stage, twice the embedding, as in RN50.
RESNET = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "text_cfg": _TEXT,
}


def register(monkeypatch: pytest.MonkeyPatch, name: str, config: dict[str, Any]) -> None:
    """Makes open_clip know a model ``name`` until the test ends."""
    monkeypatch.setitem(factory._MODEL_CONFIGS, name, config)


def register_tag(monkeypatch: pytest.MonkeyPatch, name: str, tag: str, **weights: Any) -> None:
    """Makes open_clip know weights ``tag`` of ``name``: ``file=...``, or ``url=...``; ``quick_gelu=...``."""
    monkeypatch.setitem(pretrained._PRETRAINED, name, {tag: weights})


def save_model(path: Path, name: str, seed: int = 0) -> Path:
    """Writes a whole model with random weights as open_clip stores it."""
    torch.manual_seed(seed)
    model = open_clip.create_model(name)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # the last ones of a block start at 0, which would hide it
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return path
