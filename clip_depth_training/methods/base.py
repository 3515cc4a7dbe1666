"""What a recipe trains: a network, its loss and what comes out as files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from clip_depth_ros.depth.preprocess import Preprocess
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.base import Batch

LICENCE = "Apache-2.0"


@dataclass(frozen=True)
class Provenance:
    """Where weights come from.

    Attributes:
        recipe: name of the recipe.
        trained_on: data, steps and start, in words.
        training_intrinsics: the cameras of the training data, in words.
        metrics: rows of ``clip-depth-train evaluate``.
        licence: licence of the weights.
    """

    recipe: str
    trained_on: str
    training_intrinsics: str = "unknown"
    metrics: tuple[dict[str, Any], ...] = field(default=())
    licence: str = LICENCE


def known_weights(name: str, trained_on: str) -> str:
    """Returns the sentence of a card that tells what the weights called ``name`` were trained on."""
    return f"The {name}: {trained_on.rstrip('.')}."


class Method(nn.Module, ABC):
    """A trainable method. A new one is one file here, one entry in :data:`METHODS` and one recipe.

    Attributes:
        config_class: dataclass of the recipe's ``network`` section.
        preprocess: the node's own preprocessing.
        valid_range: (nearest, farthest) metres that count, in training and validation.
        canonical_focal_px: focal length in encoder-input pixels that predictions are for; None where the depth is for
            the training data's own camera.
    """

    config_class: ClassVar[type]
    preprocess: Preprocess
    valid_range: tuple[float, float]
    canonical_focal_px: float | None
    started_from: str = ""
    """The weights that training went on from, in words; empty for random ones."""
    history: str = ""
    """What those weights were trained on: sentences, the latest first."""

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """The part that the optimiser moves and the running average follows: this module or one of its children."""

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Returns ``loss`` (scalar, to minimise) and whatever else is worth logging."""

    @abstractmethod
    def predict(self, images: Tensor, output_size: tuple[int, int]) -> Tensor:
        """Returns depth ``(B, H, W)`` float32 at ``output_size`` for the canonical focal length, without gradients.

        Args:
            images: ``(B, H, W, 3)`` uint8 RGB.
            output_size: (H, W) in pixels.
        """

    @abstractmethod
    def export(self, output: Path, provenance: Provenance) -> list[Path]:
        """Writes the trained weights into the folder ``output``; returns the files."""

    @property
    def frozen_identity(self) -> str:
        """What names the frozen weights that a checkpoint leaves out; empty where nothing is frozen."""
        return ""

    def check_frozen(self, identity: str, source: str) -> None:
        """Checks that weights go with the frozen part they were trained on.

        Raises:
            BadInput: they were trained on another one; ``source`` is the checkpoint's name.
        """
        if identity != self.frozen_identity:
            raise BadInput(
                f"{source} was trained on the encoder {identity[:12] or 'none'}, but the recipe's encoder is "
                f"{self.frozen_identity[:12] or 'none'} now: put the old encoder file back, or train anew."
            )

    def compute_frozen_in(self, dtype: torch.dtype) -> None:
        """Has what is never trained hold and compute its numbers as ``dtype``; for training only, not for export."""
        return

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        """Returns more figures ``(scalar)`` to log in validation than the depth metrics."""
        return {}

    def zoom(self, batch: Batch) -> Tensor:
        """Returns f / canonical of each picture, ``(B, 1, 1)``: metres = predicted depth * zoom."""
        if self.canonical_focal_px is None:
            return batch.focal.new_ones(len(batch), 1, 1)
        height, width = batch.images.shape[1:3]
        size = self.preprocess.size
        scale = (size[0] / height * size[1] / width) ** 0.5
        return (batch.focal * scale / self.canonical_focal_px)[:, None, None]

    def remember_start(self, weights: str, trained_on: str) -> None:
        """Notes which weights training goes on from, and what those were trained on, for the card."""
        self.started_from = f"the {weights}"
        self.history = known_weights(weights, trained_on)

    @torch.no_grad()
    def metres(self, batch: Batch) -> Tensor:
        """Returns predicted depth in metres ``(B, H, W)`` at the pictures' size."""
        height, width = batch.images.shape[1:3]
        return self.predict(batch.images, (height, width)) * self.zoom(batch)
