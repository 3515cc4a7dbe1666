"""Recipes: YAML files that say what to train on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from clip_depth_ros.errors import BadInput
from clip_depth_training.augmentation import AugmentationConfig
from clip_depth_training.methods import method_class
from clip_depth_training.sections import build, overridden

if TYPE_CHECKING:
    from clip_depth_training.methods.base import Method

PRECISIONS = ("bf16-mixed", "32-true")


@dataclass(frozen=True)
class StepSchedule:
    """A learning rate that falls in steps.

    Attributes:
        every: passes over the training data (optimiser steps, where the recipe counts ``steps``) between two falls.
        factor: what the learning rate is multiplied by then.
    """

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 < self.factor <= 1:
            raise BadInput(
                f"The schedule of a recipe falls every {self.every} by a factor of {self.factor}: every must be at "
                "least 1, and factor above 0 and at most 1."
            )


@dataclass(frozen=True)
class Recipe:
    """One training.

    Attributes:
        name: name of what comes out.
        method: what is trained, see :data:`clip_depth_training.methods.METHODS`.
        train: data set to learn from.
        validation: data set to measure on.
        network: the method's own section, of the method's ``config_class``.
        samples: learn from so many pictures of ``train``, drawn by ``seed``; empty: from all of them.
        validation_samples: measure on so many of ``validation``, likewise. Where both are one folder they share none.
        steps: optimiser steps; or
        epochs: passes over the training data instead.
        batch_size: pictures a step, over all processes together.
        train_size: (H, W) in pixels that every training sample is cropped to at random; empty: as the data are, which
            must then be of one size.
        learning_rate: peak of AdamW's learning rate; linear warm-up, then cosine to ``final_learning_rate``.
        final_learning_rate: learning rate at the last step; of no use with a ``schedule``.
        schedule: steps instead of the cosine.
        warm_up: share of the steps that warm up.
        beta2: AdamW's decay of the squared gradients.
        weight_decay: AdamW's weight decay.
        decay_norms_and_biases: whether it is for norms, biases and tokens too, as SPACE-CLIP's authors have it.
        gradient_clip: largest norm of the gradient.
        ema_decay: decay of the running average of weights and buffers.
        dropout: probability of every dropout of what is trained; empty: the network's own.
        freeze_normalisation: batch norms use their stored statistics and leave them as they are; for tiny batches.
        precision: ``bf16-mixed`` or ``32-true``. A CPU without 16-bit arithmetic uses 32 bits for both.
        validate_every: steps between measurements and checkpoints; empty: once a pass over the training data.
        validation_batch: pictures of one size that are measured at once.
        keep_every: steps between checkpoints that are kept beside ``last.ckpt`` and ``best.ckpt``; 0: none.
        log_every: steps between lines of the log.
        workers: processes that read data; empty: 2 for pictures in files, 0 for rooms, which are in memory.
        seed: seed of everything drawn at random.
        augmentation: strengths of the picture changes.
    """

    name: str
    train: Path
    validation: Path
    network: Any
    steps: int | None = None
    epochs: int | None = None
    method: str = "space_clip"
    samples: int | None = None
    validation_samples: int | None = None
    batch_size: int = 32
    train_size: tuple[int, int] | None = None
    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-6
    schedule: StepSchedule | None = None
    warm_up: float = 0.05
    beta2: float = 0.999
    weight_decay: float = 0.01
    decay_norms_and_biases: bool = False
    gradient_clip: float = 1.0
    ema_decay: float = 0.996
    dropout: float | None = None
    freeze_normalisation: bool = False
    precision: str = "bf16-mixed"
    validate_every: int | None = None
    validation_batch: int = 32
    keep_every: int = 0
    log_every: int = 20
    workers: int | None = None
    seed: int = 42
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            both = "" if self.steps is None else ", not both (--set epochs= takes one away)"
            raise BadInput(f"The recipe {self.name} must say how long to train: give either steps or epochs{both}.")
        whole = ("steps", "epochs", "samples", "validation_samples", "batch_size", "validate_every", "validation_batch")
        for key in (*whole, "log_every"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise BadInput(f"{key} of the recipe {self.name} is {value}, but must be at least 1.")
        if self.precision not in PRECISIONS:
            raise BadInput(f"precision of the recipe {self.name} must be {' or '.join(PRECISIONS)}.")

    def build(self) -> Method:
        """Returns the method with its untrained network.

        Raises:
            BadInput: the network's encoder cannot be had.
        """
        return method_class(self.method)(self.network)

    def total_steps(self, samples: int) -> int:
        """Returns the optimiser steps on a training set of ``samples``."""
        return self.steps if self.steps is not None else (self.epochs or 0) * self.epoch_steps(samples)

    def epoch_steps(self, samples: int) -> int:
        """Returns the steps of one pass over a training set of ``samples``."""
        return max(1, samples // self.batch_size)

    @classmethod
    def load(cls, location: str | Path, changes: Sequence[str] = ()) -> Recipe:
        """Reads a YAML file, or one of this package's recipes by name (``space_clip_nyu``).

        Args:
            location: file or name.
            changes: ``key=value`` or ``section.key=value``, which replace what the file says.

        Raises:
            BadInput: no such recipe, or a key or value that makes no sense.
        """
        values = _read(location)
        if not isinstance(values, dict):
            raise BadInput(f"The recipe {location} is empty: it needs name, train, validation, network and steps.")
        values = overridden(values, changes)
        network = values.get("network")
        if not isinstance(network, dict):
            raise BadInput(f"The recipe {location} has no section network: it says what is trained.")
        config = method_class(str(values.get("method", "space_clip"))).config_class
        section: Any = build(config, network, f"network of {location}")
        return build(cls, {**values, "network": section}, str(location))


def _read(location: str | Path) -> Any:
    """Returns the values of a recipe file, or of a shipped recipe."""
    path = Path(location)
    shipped = Path(__file__).with_name("recipes")
    if not path.is_file() and (shipped / f"{location}.yaml").is_file():
        path = shipped / f"{location}.yaml"
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
        reason = getattr(error, "strerror", None) or "not text"
        raise BadInput(
            f"The recipe {location} cannot be read ({reason}): give a YAML file or one of {names}."
        ) from error
    except yaml.YAMLError as error:
        raise BadInput(f"The recipe {location} is not YAML ({' '.join(str(error).split())}).") from error
