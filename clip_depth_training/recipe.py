"""Recipes: YAML files that say what to train on what."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from clip_depth_ros.errors import BadInput
from clip_depth_training.augmentation import AugmentationConfig
from clip_depth_training.network import NetworkConfig

T = TypeVar("T")


@dataclass(frozen=True)
class Recipe:
    """One training.

    Attributes:
        name: name of the encoder that comes out.
        train: folder of rendered rooms to learn from.
        validation: folder of other rooms to measure on.
        steps: optimiser steps.
        batch_size: pictures a step.
        learning_rate: peak of AdamW's learning rate; linear warm-up, then cosine to ``final_learning_rate``.
        final_learning_rate: learning rate at the last step.
        warm_up: share of the steps that warm up.
        weight_decay: AdamW's weight decay.
        gradient_clip: largest norm of the gradient.
        ema_decay: decay of the running average of weights and buffers.
        supervision_size: side (pixels) of the depth maps the loss is taken on.
        precision: ``bf16-mixed`` or ``32-true``.
        validate_every: steps between measurements and checkpoints.
        seed: seed of everything drawn at random.
        network: sizes of encoder and head.
        augmentation: strengths of the picture changes.
    """

    name: str
    train: Path
    validation: Path
    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-6
    warm_up: float = 0.05
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.996
    supervision_size: int = 64
    precision: str = "bf16-mixed"
    validate_every: int = 500
    seed: int = 42
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    @classmethod
    def load(cls, location: str | Path) -> Recipe:
        """Reads a YAML file, or one of this package's recipes by name (``demo_rooms``).

        Raises:
            BadInput: no such recipe, or a key or value that makes no sense.
        """
        path = Path(location)
        shipped = Path(__file__).with_name("recipes")
        if not path.is_file() and (shipped / f"{location}.yaml").is_file():
            path = shipped / f"{location}.yaml"
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            names = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
            raise BadInput(
                f"The recipe {location} cannot be read ({error.strerror}): give a YAML file or one of {names}."
            ) from error
        except yaml.YAMLError as error:
            raise BadInput(f"The recipe {location} is not YAML ({' '.join(str(error).split())}).") from error
        if not isinstance(values, dict):
            raise BadInput(f"The recipe {location} is empty: it needs at least name, train, validation and steps.")
        return _build(cls, values, str(location))


def _build(kind: type[T], values: dict[str, Any], where: str) -> T:
    """Returns the dataclass ``kind`` from the mapping ``values`` of the file ``where``."""
    hints = get_type_hints(kind)
    known = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]}" if near else f"known keys are {', '.join(known)}"
            raise BadInput(
                f"{where} has an unknown key {key!r}: {hint}?"
                if near
                else f"{where} has an unknown key {key!r}: {hint}."
            )
        arguments[key] = _convert(hints[key], value, f"{key} of {where}")
    try:
        return kind(**arguments)
    except TypeError as error:
        raise BadInput(f"{where} is incomplete ({error}).") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Returns a YAML value as the type a dataclass field asks for."""
    if is_dataclass(hint) and isinstance(value, dict):
        return _build(hint, value, where)  # type: ignore[arg-type]
    if isinstance(value, list):
        return tuple(value)
    try:
        return hint(value) if hint in (int, float, str, Path) else value
    except (TypeError, ValueError) as error:
        raise BadInput(f"{where} is {value!r}, but must be {hint.__name__}.") from error
