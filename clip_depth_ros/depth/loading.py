"""From a configuration to one encoder and the heads that read it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from clip_depth_ros.depth.checkpoint import Checkpoint, load_checkpoint, read_metadata, read_vision_tensors
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.heads import DepthHead, head_class
from clip_depth_ros.depth.heads.depth_clip import DepthClipConfig, DepthClipHead
from clip_depth_ros.depth.prompts import embed_prompts_open_clip
from clip_depth_ros.errors import BadInput
from clip_depth_ros.resources import resolve


class LoadedNetwork(NamedTuple):
    """What a configuration asks for.

    Attributes:
        encoder: the encoder, in fp32 or as its file has it.
        heads: the heads by name, in the order of ``config.heads``.
        canonical_focal_px: focal length (encoder-input pixels) of the heads that declare one.
        identity: the encoder's SHA-256, see :meth:`SharedEncoder.identity`.
    """

    encoder: SharedEncoder
    heads: dict[str, DepthHead]
    canonical_focal_px: dict[str, float]
    identity: str


def load_network(config: EstimatorConfig) -> LoadedNetwork:
    """Loads what ``config`` asks for.

    Raises:
        BadInput: a file that cannot be used, a head without weights, no encoder, or a head trained on another encoder.
    """
    checkpoints = [load_checkpoint(resolve(location)) for location in config.weights if location]
    stored = {name: _checkpoint_of(name, checkpoints, config) for name in config.heads}
    chosen = {name: checkpoint for name, checkpoint in stored.items() if checkpoint is not None}
    encoder = _load_encoder(config, checkpoints, next(iter(chosen.values()), None))
    identity = encoder.identity()
    for name, checkpoint in chosen.items():
        if checkpoint.metadata.encoder_identity != identity:
            trained = checkpoint.metadata
            raise BadInput(
                f"Head {name} in {checkpoint.path} was trained on encoder {trained.encoder.name} "
                f"({trained.encoder_identity[:12]}), but the node's encoder is {encoder.config.name} "
                f"({identity[:12]}): "
                "give weights that belong together."
            )
    heads = {
        name: _zero_shot_head(config, encoder) if checkpoint is None else _stored_head(checkpoint, config, encoder)
        for name, checkpoint in stored.items()
    }
    focal = {name: c.metadata.canonical_focal_px for name, c in chosen.items()}
    known = {name: value for name, value in focal.items() if value is not None}
    return LoadedNetwork(encoder, heads, known, identity)


def _stored_head(checkpoint: Checkpoint, config: EstimatorConfig, encoder: SharedEncoder) -> DepthHead:
    head = checkpoint.build_head()
    head = head.with_options(**config.options(head.method))
    if isinstance(head, DepthClipHead):
        head.config.check_encoder(encoder)
    return head


def _zero_shot_head(config: EstimatorConfig, encoder: SharedEncoder) -> DepthClipHead:
    """Builds DepthCLIP from CLIP alone: the text tower of the encoder's own model embeds the prompts, once."""
    settings = DepthClipConfig.for_encoder(encoder, **config.options(DepthClipHead.method))
    features = embed_prompts_open_clip(encoder.config.name, _encoder_source(config), settings.prompts)
    return DepthClipHead.from_prompts(settings, features)


def _checkpoint_of(name: str, checkpoints: list[Checkpoint], config: EstimatorConfig) -> Checkpoint | None:
    """Returns the file that holds head ``name``, or None where CLIP's own weights are enough."""
    zero_shot = head_class(name) is DepthClipHead
    found = [checkpoint for checkpoint in checkpoints if checkpoint.head and checkpoint.metadata.method == name]
    if len(found) == 1:
        return found[0]
    files = ", ".join(config.weights) or "none"
    if not found and zero_shot:
        if config.encoder_weights:
            return None
        raise BadInput(
            f"Head {name} is in none of the files in parameter weights ({files}), and without one it needs a whole "
            "CLIP model: set encoder.model and encoder.weights, for example to RN50 and openai."
        )
    if not found:
        raise BadInput(f"Head {name} has no weights: none of the files in parameter weights ({files}) holds it.")
    raise BadInput(f"Head {name} is in {len(found)} of the files in parameter weights ({files}): give one.")


def _load_encoder(config: EstimatorConfig, checkpoints: list[Checkpoint], main: Checkpoint | None) -> SharedEncoder:
    if main is not None and not config.encoder_weights:
        # The main head's own encoder goes first, so that a mismatch names the other head.
        for checkpoint in [main, *checkpoints]:
            encoder = checkpoint.build_encoder()
            if encoder is not None:
                return encoder
        wanted = main.metadata.encoder
        raise BadInput(
            f"{main.path} holds no encoder: set encoder.weights to {wanted.pretrained or 'a tag or file'} of "
            f"{wanted.name}, or add a file that holds the encoder to weights."
        )
    if main is None or config.encoder_model:
        if not config.encoder_model:
            raise BadInput(
                f"Parameter encoder.weights is {config.encoder_weights!r}, and nothing says of which model: set "
                "encoder.model, for example to RN50."
            )
        return SharedEncoder.from_open_clip(config.encoder_model, _encoder_source(config))
    if not config.encoder_weights.endswith(".safetensors"):
        return SharedEncoder.from_open_clip(main.metadata.encoder.name, config.encoder_weights)
    path = resolve(config.encoder_weights)
    encoder = SharedEncoder(_config_of(path, main))
    encoder.load_vision(read_vision_tensors(path), str(path))
    return encoder


def _encoder_source(config: EstimatorConfig) -> str:
    """Returns the encoder's open_clip tag, or the path of its file."""
    source = config.encoder_weights
    return str(resolve(source)) if source.endswith(".safetensors") else source


def _config_of(path: Path, main: Checkpoint) -> EncoderConfig:
    try:
        return read_metadata(path).encoder
    except BadInput:
        return main.metadata.encoder  # open_clip's own file: it has tensors and no metadata


def pick_device(name: str) -> torch.device:
    """Returns the device called ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        BadInput: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadInput(f"Parameter device is {name!r}: it must be auto, cpu, cuda or cuda:N.") from error
    if device.type not in ("cpu", "cuda"):
        raise BadInput(f"Parameter device is {name!r}: it must be auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadInput(
            f"Parameter device is {name!r}, but this machine has {torch.cuda.device_count()} usable CUDA devices: "
            "set device to auto or cpu."
        )
    return device
