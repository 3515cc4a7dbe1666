"""From a configuration to one encoder and the heads that read it."""

from __future__ import annotations

from pathlib import Path

import torch

from clip_depth_ros.depth.checkpoint import Checkpoint, load_checkpoint, read_metadata, read_vision_tensors
from clip_depth_ros.depth.config import EstimatorConfig
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.heads import DepthHead, head_class
from clip_depth_ros.errors import BadInput
from clip_depth_ros.resources import resolve


def load_network(config: EstimatorConfig) -> tuple[SharedEncoder, dict[str, DepthHead], dict[str, float]]:
    """Loads what ``config`` asks for.

    Returns:
        The encoder, the heads by name in the order of ``config.heads``, and the canonical focal length (encoder-input
        pixels) of the heads that declare one.

    Raises:
        BadInput: a file that cannot be used, a head without weights, no encoder, or a head trained on another encoder.
    """
    checkpoints = [load_checkpoint(resolve(location)) for location in config.weights]
    chosen = {name: _checkpoint_of(name, checkpoints, config) for name in config.heads}
    encoder = _load_encoder(config, checkpoints, next(iter(chosen.values())))
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
    heads = {name: checkpoint.build_head() for name, checkpoint in chosen.items()}
    focal = {name: c.metadata.canonical_focal_px for name, c in chosen.items()}
    return encoder, heads, {name: value for name, value in focal.items() if value is not None}


def _checkpoint_of(name: str, checkpoints: list[Checkpoint], config: EstimatorConfig) -> Checkpoint:
    head_class(name)
    found = [checkpoint for checkpoint in checkpoints if checkpoint.head and checkpoint.metadata.method == name]
    if len(found) == 1:
        return found[0]
    files = ", ".join(config.weights) or "none"
    if not found:
        raise BadInput(f"Head {name} has no weights: none of the files in parameter weights ({files}) holds it.")
    raise BadInput(f"Head {name} is in {len(found)} of the files in parameter weights ({files}): give one.")


def _load_encoder(config: EstimatorConfig, checkpoints: list[Checkpoint], main: Checkpoint) -> SharedEncoder:
    if not config.encoder_weights:
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
    name = config.encoder_model or main.metadata.encoder.name
    if not config.encoder_weights.endswith(".safetensors"):
        return SharedEncoder.from_open_clip(name, config.encoder_weights)
    path = resolve(config.encoder_weights)
    if config.encoder_model:
        return SharedEncoder.from_open_clip(name, str(path))
    encoder = SharedEncoder(_config_of(path, main))
    encoder.load_vision(read_vision_tensors(path), str(path))
    return encoder


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


def pick_precision(name: str, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """Returns the floating-point types of the encoder and of the heads for a precision's name.

    A decoder in bf16 loses three times the depth accuracy of the encoder in bf16, so it stays in fp32 there.
    """
    if name == "auto":
        name = "fp16" if device.type == "cuda" else "fp32"
    types = {
        "fp32": (torch.float32, torch.float32),
        "bf16": (torch.bfloat16, torch.float32),
        "fp16": (torch.float16, torch.float16),
    }
    return types[name]
