"""What every depth head is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import EncoderFeatures
from clip_depth_ros.errors import BadInput

_Head = TypeVar("_Head", bound="DepthHead")


@dataclass(frozen=True)
class DepthPrediction:
    """One head's answer for a batch.

    Attributes:
        depth: ``(B, H, W)`` float32, metres along Z, raw and finite: what lies outside ``valid_range`` is for the
            reader to mask.
        valid_range: (nearest, farthest) metres the head was trained for.
        confidence: ``(B, H, W)`` float32 in 0..1, or None for heads that have none.
    """

    depth: Tensor
    valid_range: tuple[float, float]
    confidence: Tensor | None = None


class Exact(nn.Module):
    """A part of a network that computes in fp32 whatever the type of what it is given."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part.float()

    def forward(self, values: Tensor) -> Tensor:
        """Returns the part's output, float32."""
        output: Tensor = self.part(values.float())
        return output


class DepthHead(nn.Module, ABC):
    """A published method that reads the shared encode.

    Attributes:
        method: the method's name, as in checkpoints, parameters and topics.
        exact_parts: names of its modules that stay in fp32 where the rest computes in bf16.
    """

    method: ClassVar[str]
    exact_parts: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def layers(self) -> frozenset[int]:
        """The hidden states this head reads."""

    @property
    @abstractmethod
    def needs_pooled(self) -> bool:
        """Whether this head reads ``features.pooled``, which needs every block of the encoder."""

    @property
    def note(self) -> str:
        """What whoever starts this head should be told, one sentence; empty for most."""
        return ""

    def narrow(self: _Head, dtype: torch.dtype) -> _Head:
        """Makes the head compute in ``dtype``, in place, its ``exact_parts`` excepted where that is bf16."""
        self.to(dtype)
        if dtype == torch.bfloat16:
            for name in self.exact_parts:
                setattr(self, name, Exact(self.get_submodule(name)))
        return self

    def with_options(self, **options: Any) -> DepthHead:
        """Returns this head with settings of its configuration changed that need no training.

        Raises:
            BadInput: a setting that the weights fix, or one that makes no sense.
        """
        if options:
            raise BadInput(f"Head {self.method} has no settings beside its weights, but {', '.join(options)} is given.")
        return self

    @abstractmethod
    def forward(self, features: EncoderFeatures, output_size: tuple[int, int]) -> DepthPrediction:
        """Predicts depth at ``output_size`` (height, width) pixels."""

    @abstractmethod
    def config_dict(self) -> dict[str, Any]:
        """Returns the head's configuration as JSON-ready values, as checkpoints store it."""

    @classmethod
    @abstractmethod
    def from_config_dict(cls, values: dict[str, Any]) -> DepthHead:
        """Builds the head (random weights) from :meth:`config_dict`'s values.

        Raises:
            BadInput: a value is missing or makes no sense.
        """
