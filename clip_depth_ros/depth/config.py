"""The part of a ROS parameter file that says which network to run, read by the node and by Python alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from clip_depth_ros.depth.encoder_config import NORMALISATIONS
from clip_depth_ros.errors import BadInput
from clip_depth_ros.resources import resolve

DEMO_WEIGHTS = (
    "package://clip_depth_ros/models/demo/encoder.safetensors",
    "package://clip_depth_ros/models/demo/space_clip.safetensors",
    "package://clip_depth_ros/models/demo/moa_depth_clip.safetensors",
    "package://clip_depth_ros/models/demo/depth_blip2.safetensors",
    "package://clip_depth_ros/models/demo/depth_clip.safetensors",
)
PRECISIONS = ("auto", "fp32", "bf16", "bf16_encoder", "fp16")
ACCELERATIONS = ("auto", "eager", "compile", "cuda_graph")


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (list, tuple)) and all(map(fits, value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _floats(value: Iterable[float]) -> tuple[float, ...]:
    return tuple(map(float, value))


# Names of parameters, what fits them, what that is called, and what becomes of it.
_KINDS: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str, Callable[[Any], Any]], ...] = (
    (("heads", "weights", "depth_clip.classes"), _list_of(_is_string), "a list of strings", tuple),
    (("encoder.model", "encoder.weights", "encoder.normalisation"), _is_string, "a string", str),
    (("device", "precision", "acceleration"), _is_string, "a string", str),
    (("depth_clip.template", "depth_clip.variant"), _is_string, "a string", str),
    (("encoder.input_size",), _list_of(_is_whole), "a list of two whole numbers", tuple),
    (("depth_clip.bins", "depth_blip2.bins"), _list_of(_is_number), "a list of numbers", _floats),
    (("depth_clip.temperature", "depth_blip2.temperature"), _is_number, "a number", float),
)


@dataclass(frozen=True)
class EstimatorConfig:
    """Which encoder and heads to run, and where. Field names are the node's parameters, dots as underscores.

    Attributes:
        heads: methods to run, the main one first.
        weights: weight files (path or ``package://clip_depth_ros/...``); each says itself what it holds.
        encoder_model: open_clip model name; empty for what the weight files name.
        encoder_weights: open_clip tag or ``.safetensors`` file; empty to take the encoder from ``weights``.
        device: ``auto`` (a GPU when there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto`` (fp16 on a GPU; on a CPU bf16 where it is measured to be 1.3 times as fast, else fp32),
            ``fp32``, ``bf16`` (products in bf16, sums over the depth of the network in fp32), ``bf16_encoder`` (the
            heads in fp32) or ``fp16``.
        acceleration: ``auto`` (CUDA graphs on a GPU, eager on a CPU), ``eager``, ``compile`` (torch.compile) or
            ``cuda_graph``.
        encoder_input_size: (height, width) in pixels that pictures are resized to, multiples of the encoder's patch;
            (0, 0) is the encoder's own.
        encoder_normalisation: empty for the encoder's own mean and deviation, or a name in
            :data:`~clip_depth_ros.depth.encoder_config.NORMALISATIONS`: ``imagenet``, as the public code of DepthCLIP
            and DepthBLIP-2 has it.
        depth_clip_classes: DepthCLIP's class words. Here and below, empty or 0 (in a list too: ROS has no empty list)
            takes what the head's checkpoint holds, or the published value where there is no checkpoint.
        depth_clip_template: the sentence around a class word, which stands for ``{class}`` in it.
        depth_clip_bins: the distance in metres of each class word.
        depth_clip_temperature: divides DepthCLIP's logits.
        depth_clip_variant: the patch features it compares with the words: ``attnpool``, ``released`` or ``tokens``.
        depth_blip2_bins: the distance in metres of each prompt, for a head with fixed distances.
        depth_blip2_temperature: what its maps are divided by before the softmax over the prompts.
    """

    heads: tuple[str, ...] = ("space_clip",)
    weights: tuple[str, ...] = DEMO_WEIGHTS
    encoder_model: str = ""
    encoder_weights: str = ""
    device: str = "auto"
    precision: str = "auto"
    acceleration: str = "auto"
    encoder_input_size: tuple[int, int] = (0, 0)
    encoder_normalisation: str = ""
    depth_clip_classes: tuple[str, ...] = ("",)
    depth_clip_template: str = ""
    depth_clip_bins: tuple[float, ...] = (0.0,)
    depth_clip_temperature: float = 0.0
    depth_clip_variant: str = ""
    depth_blip2_bins: tuple[float, ...] = (0.0,)
    depth_blip2_temperature: float = 0.0

    def __post_init__(self) -> None:
        if not self.heads or len(set(self.heads)) != len(self.heads):
            raise BadInput(f"Parameter heads is {list(self.heads)}: name at least one head, each once.")
        if self.precision not in PRECISIONS:
            raise BadInput(f"Parameter precision is {self.precision!r}: it must be one of {', '.join(PRECISIONS)}.")
        if self.acceleration not in ACCELERATIONS:
            raise BadInput(
                f"Parameter acceleration is {self.acceleration!r}: it must be one of {', '.join(ACCELERATIONS)}."
            )
        if reason := input_size_problem(self.encoder_input_size):
            raise BadInput(f"Parameter {reason}")
        if self.encoder_normalisation and self.encoder_normalisation not in NORMALISATIONS:
            raise BadInput(
                f"Parameter encoder.normalisation is {self.encoder_normalisation!r}: it must be empty (the encoder's "
                f"own) or {' or '.join(NORMALISATIONS)}."
            )
        if options := self.options("depth_clip"):
            from clip_depth_ros.depth.heads.depth_clip import check_options

            check_options(**options)
        if any(self.depth_blip2_bins) and (reason := distances_problem("depth_blip2.bins", self.depth_blip2_bins)):
            raise BadInput(f"Parameter {reason}")

    def options(self, method: str) -> dict[str, Any]:
        """Returns the options of head ``method`` that were set, by their names in its configuration."""
        prefix = f"{method}_"
        named = {item.name: getattr(self, item.name) for item in fields(self) if item.name.startswith(prefix)}
        return {
            name.removeprefix(prefix): value
            for name, value in named.items()
            if (any(value) if isinstance(value, tuple) else value)
        }

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
        for names, fits, kind, convert in _KINDS:
            for name in names:
                if name not in parameters:
                    continue
                if not fits(parameters[name]):
                    raise BadInput(f"Parameter {name} in {source} must be {kind}, not {parameters[name]!r}.")
                values[name.replace(".", "_")] = convert(parameters[name])
        return cls(**values)


def input_size_problem(size: Sequence[int]) -> str:
    """Returns what is wrong with ``encoder.input_size``, as one sentence, or an empty string."""
    if len(size) == 2 and (not any(size) or all(0 < side <= 4096 for side in size)):
        return ""
    return f"encoder.input_size is {list(size)}: give height and width in pixels, or [0, 0] for the encoder's own."


def distances_problem(name: str, distances: Sequence[float]) -> str:
    """Returns what is wrong with a list of distances in metres called ``name``, as one sentence, or an empty string."""
    if len(distances) >= 2 and all(0 < value <= 1000 for value in distances):
        return ""
    return f"{name} is {list(distances)}: give at least two distances in metres, above 0 and up to 1000."


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
