"""Imports the SPACE-CLIP authors' checkpoints (``.pt``), encoder included.

Their files hold a Hugging Face vision tower (``clip_vision_model.*``) and the decoder. The file says neither the
depth range, nor the head count, nor the activation: those come from the caller.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
from clip_depth_ros.depth.encoder import SharedEncoder, check_tensors
from clip_depth_ros.depth.encoder_config import OPENAI_MEAN, OPENAI_STD, EncoderConfig
from clip_depth_ros.depth.heads.space_clip import SpaceClipConfig, SpaceClipHead
from clip_depth_ros.depth.importers.hugging_face import vision_config, vision_tensors
from clip_depth_ros.errors import BadInput

_ENCODER_PREFIX = "clip_vision_model."

# Their module names to ours, in the order they are tried.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"^film_param_generators\.", "film."),
    (r"^main_path_projections\.", "semantic_projections."),
    (r"^structural_path_projections\.", "structural_projections."),
    (r"^main_decoder_blocks\.", "main_stages."),
    (r"^structural_decoder_blocks\.", "structural_stages."),
    (r"^depth_prediction_head\.", "depth_head."),
    (r"^aux_depth_heads\.", "auxiliary_heads."),
    (r"\.upsample_low\.upsample\.", ".upsample.enlarge."),
    (r"\.upsample_low\.conv\.", ".upsample.refine."),
    (r"\.skip_clip_gate\.0\.", ".semantic_gate."),
    (r"\.skip_struct_gate\.0\.", ".structural_gate."),
    (r"\.fusion_conv\.3\.conv1\.", ".residual.first.0."),
    (r"\.fusion_conv\.3\.norm1\.", ".residual.first.1."),
    (r"\.fusion_conv\.3\.conv2\.", ".residual.second."),
    (r"\.fusion_conv\.3\.norm2\.", ".residual.norm."),
    (r"\.fusion_conv\.", ".fuse."),
)


@dataclass(frozen=True)
class ImportOptions:
    """What the authors' file does not say.

    Attributes:
        valid_range: (nearest, farthest) metres of the training data.
        trained_on: the training data, in words (``nyu``, ``kitti``, ...).
        heads: attention heads of the tower; None for width / 64.
        activation: the tower's activation; None for quick_gelu (CLIP) or gelu_tanh (SigLIP).
        semantic_layers: hidden states of the main stages; None for the published 12, 9, 6, 3 scaled to the depth.
        structural_layers: hidden states of the structural stages; None for 2, 1, 0 scaled to the depth.
    """

    valid_range: tuple[float, float]
    trained_on: str
    heads: int | None = None
    activation: str | None = None
    semantic_layers: tuple[int, int, int, int] | None = None
    structural_layers: tuple[int, int, int] | None = None


def import_space_clip(source: Path, target: Path, options: ImportOptions) -> CheckpointMetadata:
    """Converts the authors' checkpoint ``source`` to this project's ``target``.

    Raises:
        BadInput: a file that is missing, truncated or not theirs, or options that do not fit it. Nothing is written.
    """
    state = read_state_dict(source)
    encoder = _build_encoder(state, source, options)
    head = _build_head(state, source, encoder, options)
    metadata = CheckpointMetadata(
        method=head.method,
        encoder=encoder.config,
        trained_on=options.trained_on,
        licence="as the imported file's",
        source=f"imported from {source.name}",
    )
    save_checkpoint(target, metadata, head, encoder)
    return metadata


def read_state_dict(source: Path) -> dict[str, Tensor]:
    """Reads the tensors of a published ``.pt`` without running any code in it.

    Accepts ``{"model": ...}`` or a bare state dict; a leading ``module.`` is dropped.

    Raises:
        BadInput: missing, truncated, or a file that holds something else than tensors.
    """
    if not source.is_file():
        raise BadInput(f"The file {source} does not exist.")
    try:
        content: Any = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise BadInput(
            f"{source} is no PyTorch weight file, or holds code instead of tensors, which is never run: get the "
            "authors' checkpoint."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise BadInput(
            f"{source} is truncated or no PyTorch weight file ({str(error).splitlines()[0]}): copy or download it "
            "again."
        ) from error
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadInput(f"{source} holds no state dict: a SPACE-CLIP checkpoint has one, bare or under 'model'.")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _build_encoder(state: Mapping[str, Tensor], source: Path, options: ImportOptions) -> SharedEncoder:
    prefix = _ENCODER_PREFIX
    tower = {
        name[len(prefix) :].removeprefix("vision_model."): t for name, t in state.items() if name.startswith(prefix)
    }
    if not tower:
        raise BadInput(f"{source} holds no {prefix}* tensors, so it is no SPACE-CLIP checkpoint with its encoder.")
    vision, embed_dim, siglip = vision_config(tower, options.heads, source)
    config = EncoderConfig(
        name=_name(vision, siglip),
        vision=vision,
        embed_dim=embed_dim,
        activation=options.activation or ("gelu_tanh" if siglip else "quick_gelu"),
        mean=(0.5, 0.5, 0.5) if siglip else OPENAI_MEAN,
        std=(0.5, 0.5, 0.5) if siglip else OPENAI_STD,
        pretrained=f"imported from {source.name}",
    )
    encoder = SharedEncoder(config)
    encoder.load_vision(vision_tensors(tower, siglip), str(source))
    return encoder


def _name(vision: Mapping[str, Any], siglip: bool) -> str:
    if siglip:
        return "ViT-B-16-SigLIP"
    published = {
        (768, 12, 16): "ViT-B-16-quickgelu",
        (768, 12, 32): "ViT-B-32-quickgelu",
        (1024, 24, 14): "ViT-L-14-quickgelu",
    }
    key = (vision["width"], vision["layers"], vision["patch_size"])
    return published.get(key, f"CLIP ViT {key[0]} wide, {key[1]} blocks, patch {key[2]}")


def _build_head(
    state: Mapping[str, Tensor], source: Path, encoder: SharedEncoder, options: ImportOptions
) -> SpaceClipHead:
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not name.startswith(_ENCODER_PREFIX):
            for pattern, replacement in _RENAMES:
                name = re.sub(pattern, replacement, name)
            renamed[name] = tensor
    projections = [f"semantic_projections.{index}.weight" for index in range(4)]
    if not all(name in renamed for name in projections) or "depth_head.0.weight" not in renamed:
        raise BadInput(
            f"{source} holds no SPACE-CLIP decoder: main_path_projections and depth_prediction_head are missing."
        )
    scale = max(encoder.depth // 12, 1)
    film = renamed.get("film.0.0.weight")
    channels = [renamed[name].shape[0] for name in projections]
    config = SpaceClipConfig(
        width=encoder.width,
        channels=(channels[0], channels[1], channels[2], channels[3]),
        film_hidden=film.shape[0] if film is not None else 256,
        film=film is not None,
        structural="structural_projections.0.weight" in renamed,
        auxiliary="auxiliary_heads.0.0.weight" in renamed,
        semantic_layers=options.semantic_layers or (12 * scale, 9 * scale, 6 * scale, 3 * scale),
        structural_layers=options.structural_layers or (2 * scale, scale, 0),
        valid_range=options.valid_range,
    )
    head = SpaceClipHead(config)
    check_tensors(renamed, head.state_dict(), f"{source} does not hold a SPACE-CLIP decoder this version knows")
    head.load_state_dict(renamed)
    return head.eval()
