"""The heads to measure: which file holds which, what a report says about them, and their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_depth_ros import __version__
from clip_depth_ros.depth.checkpoint import ENCODER_ONLY, CheckpointMetadata, load_checkpoint, read_metadata
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.heads import DepthClipHead
from clip_depth_ros.errors import BadInput

_ZERO_SHOT = DepthClipHead.method
_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class Weights:
    """What was measured.

    Attributes:
        file: name of the head's file; None for DepthCLIP made of CLIP's own weights.
        sha256: of that file; None where there is none.
        head_tensors: SHA-256 of its head's tensors, which stays when only the card in the header changes.
        metadata: its card.
        valid_range: (nearest, farthest) metres the head is for.
        device: where it ran.
        precision: numbers it ran in.
    """

    file: str | None
    sha256: str | None
    head_tensors: str
    metadata: CheckpointMetadata
    valid_range: tuple[float, float]
    device: str
    precision: str

    @classmethod
    def of(cls, file: Path, valid_range: tuple[float, float], estimator: DepthEstimator) -> Weights:
        """Reads the file of a head that ``estimator`` runs.

        Raises:
            BadInput: it is no weight file.
        """
        checkpoint = load_checkpoint(file)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        told = (tensors_hash(checkpoint.head), checkpoint.metadata, valid_range, *_machine(estimator))
        return cls(file.name, sha256, *told)

    @classmethod
    def zero_shot(cls, encoder_weights: str, valid_range: tuple[float, float], estimator: DepthEstimator) -> Weights:
        """Describes the DepthCLIP head that ``estimator`` made of ``encoder_weights``, a tag of open_clip or a file."""
        head, encoder = estimator.heads[_ZERO_SHOT], estimator.encoder.config
        tag = Path(encoder_weights).name if encoder_weights.endswith(".safetensors") else encoder_weights
        card = CheckpointMetadata(
            method=_ZERO_SHOT,
            encoder=encoder,
            encoder_identity=estimator.identity,
            head=head.config_dict(),
            trained_on="no depth at all: zero-shot, with the published words and distances",
            source=f"weights {tag} of {encoder.name}, both towers",
        )
        return cls(None, None, tensors_hash(head.state_dict()), card, valid_range, *_machine(estimator))

    def columns(self) -> dict[str, Any]:
        """Returns what every row says about the weights."""
        return {
            "method": self.metadata.method,
            "encoder": self.metadata.encoder.name,
            "encoder_identity": self.metadata.encoder_identity,
            "weights_sha256": self.sha256,
            "source": self.metadata.source,
            "precision": self.precision,
            "code_version": __version__,
        }

    def as_dict(self) -> dict[str, Any]:
        """Returns all that a report says about the weights, as JSON-ready values."""
        return {
            **self.columns(),
            "file": self.file,
            "head_tensors": self.head_tensors,
            "trained_on": self.metadata.trained_on,
            "valid_range_m": list(self.valid_range),
            "written_by": self.metadata.code_version,
            "device": self.device,
        }


def find_heads(
    weights: Sequence[Path], wanted: Sequence[str] = (), encoder_model: str = "", encoder_weights: str = ""
) -> dict[str, Path | None]:
    """Returns the heads to measure by method, in order, each with its file.

    Args:
        weights: the weight files.
        wanted: the methods asked for, in order; empty for all that the files hold, in the order of the files.
        encoder_model: open_clip's name of the encoder, where it was given.
        encoder_weights: its tag or file. With them DepthCLIP needs no file (None), as in the node.

    Raises:
        BadInput: a file is no weight file, there is no head or not the one asked for, or two files hold the same.
    """
    found = [(metadata.method, file) for file in weights if (metadata := read_metadata(file)).method != ENCODER_ONLY]
    names = ", ".join(name for name, _ in found) or "none"
    chosen: dict[str, Path | None] = {}
    for name in dict.fromkeys(wanted or [name for name, _ in found]):
        files = [file for method, file in found if method == name]
        if len(files) > 1:
            raise BadInput(f"The weight files hold these heads: {names}; give the file of one head {name}.")
        if not files and name != _ZERO_SHOT:
            raise BadInput(f"The weight files hold these heads: {names}; give the file of head {name} too.")
        chosen[name] = files[0] if files else None
    if not chosen:
        raise BadInput(f"The weight files hold these heads: {names}; give the file of one head.")
    # The model is open_clip's own name: given, or in the card of a head that comes in a file.
    if None in chosen.values() and not (encoder_weights and (encoder_model or any(chosen.values()))):
        raise BadInput(
            f"The weight files hold these heads: {names}; give the file of head {_ZERO_SHOT} too (`clip-depth-train "
            "zero-shot` writes it), or a whole CLIP model with --encoder-model and --encoder-weights."
        )
    return chosen


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 (hex) of tensors: names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _machine(estimator: DepthEstimator) -> tuple[str, str]:
    """Returns where an estimator runs, and the numbers its encoder runs in."""
    return str(estimator.device), _PRECISIONS[estimator.encoder.dtype]
