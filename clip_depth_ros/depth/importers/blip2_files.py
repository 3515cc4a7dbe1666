"""Reads what BLIP-2 is published as: files of LAVIS, Hugging Face folders, and the MLP of DepthBLIP-2."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clip_depth_ros.depth.encoder_config import OPENAI_MEAN, OPENAI_STD
from clip_depth_ros.errors import BadInput

_QUERIES = "query_tokens"
_WANTED = re.compile(r"(query_tokens$|ln_vision\.|Qformer\.bert\.|qformer\.|embeddings\.|vision_model\.)")
_VISION = "vision_model."
_SINGLE, _SHARDED = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class Blip2File:
    """BLIP-2's weights as they are published.

    Attributes:
        tensors: the Q-Former, its queries, and the norm of the image tokens, under their published names.
        vision: the image tower under Hugging Face's names (``embeddings.``, ``encoder.``, ...); empty where the file
            leaves it out.
        heads: attention heads of the Q-Former; None where the file does not say.
        norm_eps: epsilon of the Q-Former's layer norms.
        vision_norm_eps: epsilon of the norm of the image tokens.
        vision_config: Hugging Face's ``vision_config``.
        mean: per-channel mean of the tower's input, RGB in 0..1.
        std: per-channel standard deviation of the tower's input.
    """

    tensors: Mapping[str, Tensor]
    vision: Mapping[str, Tensor] = field(default_factory=dict)
    heads: int | None = None
    norm_eps: float = 1e-12
    vision_norm_eps: float = 1e-5
    vision_config: Mapping[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] = OPENAI_MEAN
    std: tuple[float, float, float] = OPENAI_STD


def read_blip2(source: Path) -> Blip2File:
    """Reads a ``.pth`` of LAVIS or a Hugging Face folder; of the latter nothing but the parts that are needed.

    Raises:
        BadInput: it is missing, damaged, or holds no BLIP-2.
    """
    if source.is_dir():
        return _read_folder(source)
    tensors = read_state_dict(source, "LAVIS's blip2_pretrained_vitL.pth")
    prefix = _prefix(tensors, source)
    named = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return Blip2File({name: tensor for name, tensor in named.items() if _WANTED.match(name)})


def read_mlp(source: Path) -> dict[str, Tensor]:
    """Reads DepthBLIP-2's MLP, the state dict of a Sequential (``0.weight``, ``0.bias``, ...).

    Raises:
        BadInput: it is missing, damaged, or something else.
    """
    tensors = read_state_dict(source, "DepthBLIP-2's model_epoch_N.pth")
    if "0.weight" not in tensors or tensors["0.weight"].ndim != 2 or "12.weight" not in tensors:
        raise BadInput(f"{source} holds no MLP of DepthBLIP-2, which is tensors 0.weight, 0.bias, ..., 12.bias.")
    return tensors


def read_state_dict(source: Path, example: str) -> dict[str, Tensor]:
    """Reads the tensors of a ``.pth`` without running any code in it; ``example`` says in errors what is expected.

    Accepts ``{"model": ...}`` or a bare state dict; a leading ``module.`` is dropped.

    Raises:
        BadInput: missing, truncated, or a file that holds something else than tensors.
    """
    if not source.is_file():
        raise BadInput(f"{source} does not exist: give {example}.")
    try:
        content: Any = torch.load(source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source))
    except pickle.UnpicklingError as error:
        raise BadInput(
            f"{source} is no PyTorch weight file, or holds code instead of tensors, which is never run: give {example}."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"{source} is truncated or no PyTorch weight file ({reason}): copy or download it again."
        ) from error
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadInput(f"{source} holds no state dict, bare or under 'model': give {example}.")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _prefix(names: Iterable[str], source: Path) -> str:
    """Returns what stands before ``query_tokens``: some programs wrap the model."""
    found = next((name for name in names if name == _QUERIES or name.endswith(f".{_QUERIES}")), None)
    if found is None:
        raise BadInput(f"{source} holds no {_QUERIES}, so it is no BLIP-2 or InstructBLIP.")
    return found[: -len(_QUERIES)]


def _read_folder(folder: Path) -> Blip2File:
    config = _read_json(folder / "config.json")
    if not isinstance(config.get("qformer_config"), dict):
        raise BadInput(f"{folder / 'config.json'} has no qformer_config: give the folder of BLIP-2 or InstructBLIP.")
    files = _files(folder)
    prefix = _prefix(files, folder)
    wanted = {
        name: file for name, file in files.items() if name.startswith(prefix) and _WANTED.match(name[len(prefix) :])
    }
    tensors: dict[str, Tensor] = {}
    for file in sorted(set(wanted.values())):
        tensors |= _read_shard(file, [name for name, place in wanted.items() if place == file])
    tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
    qformer, vision = config["qformer_config"], config.get("vision_config") or {}
    mean, std = _normalisation(folder)
    norm = f"{_VISION}post_layernorm."
    return Blip2File(
        tensors={name: tensor for name, tensor in tensors.items() if norm in name or not name.startswith(_VISION)},
        vision={name[len(_VISION) :]: tensor for name, tensor in tensors.items() if name.startswith(_VISION)},
        heads=int(qformer.get("num_attention_heads", 12)),
        norm_eps=float(qformer.get("layer_norm_eps", 1e-12)),
        vision_norm_eps=float(vision.get("layer_norm_eps", 1e-6)),
        vision_config=vision,
        mean=mean,
        std=std,
    )


def _files(folder: Path) -> dict[str, Path]:
    """Returns the file of every tensor of a Hugging Face folder."""
    single, index = folder / _SINGLE, folder / _SHARDED
    if index.is_file():
        places = _read_json(index).get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
            raise BadInput(f"{index} has no weight_map: download the folder again.")
        return {name: folder / file for name, file in places.items()}
    if not single.is_file():
        raise BadInput(
            f"{folder} holds no {_SINGLE} and no {_SHARDED}: download the folder's safetensors files; the .bin files "
            "of older folders are not read."
        )
    try:
        with safe_open(single, framework="pt") as opened:
            return dict.fromkeys(opened.keys(), single)
    except (SafetensorError, OSError) as error:
        raise _damaged(single, error) from error


def _read_shard(file: Path, names: Iterable[str]) -> dict[str, Tensor]:
    if not file.is_file():
        raise BadInput(f"{file} does not exist, though the index beside it names it: download it.")
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> BadInput:
    return BadInput(f"{file} is no safetensors file, or it is truncated ({error}): copy or download it again.")


def _normalisation(folder: Path) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Returns mean and deviation of the folder's image processor; CLIP's, which BLIP-2 uses, where it has none."""
    file = folder / "preprocessor_config.json"
    values = _read_json(file) if file.is_file() else {}
    mean, std = values.get("image_mean", OPENAI_MEAN), values.get("image_std", OPENAI_STD)
    if len(mean) != 3 or len(std) != 3:
        raise BadInput(f"{file} must have three values of image_mean and of image_std.")
    return (float(mean[0]), float(mean[1]), float(mean[2])), (float(std[0]), float(std[1]), float(std[2]))


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read as JSON ({error}): download the folder again.") from error
    if not isinstance(values, dict):
        raise BadInput(f"{file} is no JSON object: download the folder again.")
    return values
