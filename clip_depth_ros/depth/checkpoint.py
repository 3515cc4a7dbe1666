"""The only door weights come through: safetensors with this project's metadata in the header.

A file holds a head, an encoder, or both (tensors ``head.*`` and ``encoder.*``). The metadata says what they are; no
pickle is ever loaded here.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clip_depth_ros import __version__
from clip_depth_ros.depth.encoder import SharedEncoder, check_tensors
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.heads import DepthHead, head_class
from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing

FORMAT_VERSION = 1
ENCODER_ONLY = "encoder"
_HEADER_KEY = "clip_depth_ros"


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a weight file is.

    Attributes:
        method: the head's method (``space_clip``), or ``encoder`` for a file without a head.
        encoder: architecture, activation and normalisation of the encoder the weights belong to.
        encoder_identity: SHA-256 of that encoder, see :meth:`SharedEncoder.identity`.
        head: the head's configuration.
        trained_on: the training data, in words.
        training_intrinsics: the cameras of the training data, in words or numbers.
        canonical_focal_px: focal length in encoder-input pixels the depth is for, or None when the head learnt one
            camera. The estimator multiplies depth by f / canonical when it knows f.
        metrics: results, one a row: data, images, depth_range_m, predictor, protocol (scaling, crop, averaging) and
            the metrics of :mod:`clip_depth_ros.depth.metrics` by name.
        licence: licence of the weights.
        source: the file or recipe the weights came from.
        code_version: version of this package that wrote the file.
    """

    method: str
    encoder: EncoderConfig
    encoder_identity: str = ""
    head: dict[str, Any] = field(default_factory=dict)
    trained_on: str = "unknown"
    training_intrinsics: str = "unknown"
    canonical_focal_px: float | None = None
    metrics: tuple[dict[str, Any], ...] = ()
    licence: str = "unknown"
    source: str = "unknown"
    code_version: str = __version__

    def to_json(self) -> str:
        """Returns the header entry."""
        return json.dumps({"format": FORMAT_VERSION, **asdict(self)})

    @classmethod
    def from_json(cls, text: str, path: Path) -> CheckpointMetadata:
        """Reads the header entry of ``path``.

        Raises:
            BadInput: the entry is of a newer format, incomplete or has unknown keys.
        """
        try:
            values = json.loads(text)
            version = values.pop("format")
            if version > FORMAT_VERSION:
                raise BadInput(
                    f"{path} has checkpoint format {version}, newer than this version reads ({FORMAT_VERSION}): "
                    "update clip_depth_ros."
                )
            values["encoder"] = EncoderConfig.from_dict(values["encoder"])
            values["metrics"] = tuple(values["metrics"])
            return cls(**values)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise BadInput(
                f"The metadata of {path} is damaged ({error}): import or export the weights again."
            ) from error


@dataclass(frozen=True)
class Checkpoint:
    """A weight file in memory.

    Attributes:
        path: where it was read from.
        metadata: what it is.
        head: the head's tensors by name; empty in an encoder-only file.
        encoder: the vision tensors under open_clip's names; empty where the file has none.
    """

    path: Path
    metadata: CheckpointMetadata
    head: Mapping[str, Tensor]
    encoder: Mapping[str, Tensor]

    def build_head(self) -> DepthHead:
        """Returns the head with its weights, frozen, in eval mode.

        Raises:
            BadInput: the file holds no head, or tensors that do not fit its configuration.
        """
        if not self.head:
            raise BadInput(f"{self.path} holds an encoder and no head: give a head's file too.")
        head = head_class(self.metadata.method).from_config_dict(self.metadata.head)
        check_tensors(
            self.head,
            head.state_dict(),
            f"{self.path} does not fit its own {self.metadata.method} configuration",
        )
        head.load_state_dict(dict(self.head))
        return head.requires_grad_(False).eval()

    def build_encoder(self) -> SharedEncoder | None:
        """Returns the encoder the file brings along, or None.

        Raises:
            BadInput: the tensors do not fit the configuration, or their identity is not the one recorded.
        """
        if not self.encoder:
            return None
        encoder = SharedEncoder(self.metadata.encoder)
        encoder.load_vision(self.encoder, str(self.path))
        if encoder.identity() != self.metadata.encoder_identity:
            raise BadInput(
                f"The encoder in {self.path} is not the one its metadata names: the file was altered, so import "
                "or export it again."
            )
        return encoder


def save_checkpoint(
    path: Path,
    metadata: CheckpointMetadata,
    head: DepthHead | None = None,
    encoder: SharedEncoder | None = None,
) -> None:
    """Writes a head, an encoder, or both.

    The encoder's configuration and identity in ``metadata`` are taken from ``encoder`` when it is given, the head's
    configuration and method from ``head``. Floating-point tensors are stored as they are.

    Raises:
        BadInput: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    if encoder is not None:
        metadata = replace(metadata, encoder=encoder.config, encoder_identity=encoder.identity())
        tensors.update({f"encoder.{name}": tensor for name, tensor in encoder.vision_tensors().items()})
    if head is not None:
        metadata = replace(metadata, method=head.method, head=head.config_dict())
        tensors.update({f"head.{name}": tensor for name, tensor in head.state_dict().items()})
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={_HEADER_KEY: metadata.to_json()})
        except SafetensorError as error:
            raise BadInput(f"{path} cannot be written ({error}): choose a folder you can write to.") from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a weight file written by this project.

    Raises:
        BadInput: missing, truncated, foreign or pickled file.
    """
    header, tensors = _read_safetensors(path)
    if _HEADER_KEY not in header:
        raise BadInput(f"{path} is a safetensors file of another program: bring weights in with `clip-depth import`.")
    metadata = CheckpointMetadata.from_json(header[_HEADER_KEY], path)
    parts: dict[str, dict[str, Tensor]] = {"head": {}, "encoder": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise BadInput(f"{path} holds a tensor {name} that is neither a head's nor an encoder's: export it again.")
        parts[part][rest] = tensor
    return Checkpoint(path, metadata, parts["head"], parts["encoder"])


def read_metadata(path: Path) -> CheckpointMetadata:
    """Reads only the metadata of a weight file.

    Raises:
        BadInput: missing, truncated, foreign or pickled file.
    """
    header, _ = _read_safetensors(path, tensors=False)
    if _HEADER_KEY not in header:
        raise BadInput(f"{path} is a safetensors file of another program: bring weights in with `clip-depth import`.")
    return CheckpointMetadata.from_json(header[_HEADER_KEY], path)


def read_vision_tensors(path: Path) -> dict[str, Tensor]:
    """Reads vision tensors under open_clip's names from this project's file or from open_clip's own safetensors.

    Raises:
        BadInput: missing, truncated or pickled file, or one without vision tensors.
    """
    _, tensors = _read_safetensors(path)
    for prefix in ("encoder.", "visual."):
        found = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        if found:
            return found
    raise BadInput(
        f"{path} holds no image tower: tensors named visual.* (open_clip) or encoder.* (this project) are expected."
    )


def _read_safetensors(path: Path, tensors: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise BadInput(f"The weight file {path} does not exist.")
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if tensors else ()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        if zipfile.is_zipfile(path) or _starts_like_pickle(path):
            raise BadInput(
                f"{path} is a pickled PyTorch file, which is never loaded here: convert it with `clip-depth import`."
            ) from error
        raise BadInput(
            f"{path} is no safetensors file, or it is truncated ({error}): copy or download it again."
        ) from error


def _starts_like_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def count_parameters(tensors: Mapping[str, Tensor]) -> int:
    """Returns the number of floating-point values in ``tensors``."""
    return sum(
        tensor.numel() for tensor in tensors.values() if tensor.dtype in (torch.float32, torch.float16, torch.bfloat16)
    )
