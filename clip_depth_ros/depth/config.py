"""The part of a ROS parameter file that says which network to run, read by the node and by Python alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clip_depth_ros.errors import BadInput
from clip_depth_ros.resources import resolve

DEMO_WEIGHTS = (
    "package://clip_depth_ros/models/demo/encoder.safetensors",
    "package://clip_depth_ros/models/demo/space_clip.safetensors",
)
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class EstimatorConfig:
    """Which encoder and heads to run, and where. Field names are the node's parameters, dots as underscores.

    Attributes:
        heads: methods to run, the main one first.
        weights: weight files (path or ``package://clip_depth_ros/...``); each says itself what it holds.
        encoder_model: open_clip model name; empty for what the weight files name.
        encoder_weights: open_clip tag or ``.safetensors`` file; empty to take the encoder from ``weights``.
        device: ``auto`` (a GPU when there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto`` (fp16 on a GPU, fp32 on a CPU), ``fp32``, ``bf16`` or ``fp16``.
    """

    heads: tuple[str, ...] = ("space_clip",)
    weights: tuple[str, ...] = DEMO_WEIGHTS
    encoder_model: str = ""
    encoder_weights: str = ""
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if not self.heads or len(set(self.heads)) != len(self.heads):
            raise BadInput(f"Parameter heads is {list(self.heads)}: name at least one head, each once.")
        if self.precision not in PRECISIONS:
            raise BadInput(f"Parameter precision is {self.precision!r}: it must be one of {', '.join(PRECISIONS)}.")

    @classmethod
    def from_yaml(cls, location: str | Path) -> EstimatorConfig:
        """Reads a ROS parameter file (``/**: ros__parameters: ...``); the node's other parameters are left alone.

        Raises:
            BadInput: no such file, no YAML, no parameters, or a value of the wrong type.
        """
        path = resolve(location)
        return cls.from_parameters(read_parameters(path), str(path))

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any], source: str) -> EstimatorConfig:
        """Picks the estimator's parameters (dotted names) out of ``parameters``; ``source`` is named in errors.

        Raises:
            BadInput: a value of the wrong type or out of range.
        """
        values: dict[str, Any] = {}
        for name in ("heads", "weights"):
            if name in parameters:
                value = parameters[name]
                if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
                    raise BadInput(f"Parameter {name} in {source} must be a list of strings, not {value!r}.")
                values[name] = tuple(value)
        for name in ("encoder.model", "encoder.weights", "device", "precision"):
            if name in parameters:
                if not isinstance(parameters[name], str):
                    raise BadInput(f"Parameter {name} in {source} must be a string, not {parameters[name]!r}.")
                values[name.replace(".", "_")] = parameters[name]
        return cls(**values)


def read_parameters(path: Path) -> dict[str, Any]:
    """Returns the parameters of every node in a ROS parameter file, nested names joined by dots.

    Raises:
        BadInput: no such file, no YAML, or no ``ros__parameters`` in it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"The parameter file {path} cannot be read ({getattr(error, 'strerror', None) or error})."
        ) from error
    except yaml.YAMLError as error:
        raise BadInput(f"The parameter file {path} is no YAML ({' '.join(str(error).split())}).") from error
    found: dict[str, Any] = {}
    for node in content.values() if isinstance(content, dict) else ():
        if isinstance(node, dict) and isinstance(node.get("ros__parameters"), dict):
            found.update(_flatten(node["ros__parameters"]))
    if not found:
        raise BadInput(f"The parameter file {path} has no parameters: it must look like `/**: ros__parameters: ...`.")
    return found


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
