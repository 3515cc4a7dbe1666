"""SPACE-CLIP: text-free dual-pathway depth decoder (arXiv 2601.17657).

Deep hidden states, modulated by FiLM from the pooled token, say what is seen; shallow ones say where its edges are.
Both are decoded from the patch grid in steps of two and fused through gates. Where the paper and the authors' code
differ this follows the code, because published weights load into it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import EncoderFeatures
from clip_depth_ros.depth.heads.base import DepthHead, DepthPrediction
from clip_depth_ros.errors import BadInput


@dataclass(frozen=True)
class SpaceClipConfig:
    """Sizes and switches of the decoder.

    Attributes:
        width: D, channels of the encoder's hidden states.
        channels: decoder channels of the four main stages, coarse to fine.
        film_hidden: hidden width of the FiLM generators.
        film: whether the pooled token modulates the semantic taps (the paper's ablation switches it off).
        structural: whether the shallow pathway exists (the paper's ablation switches it off).
        auxiliary: whether the training-only heads on main stages 0..2 exist.
        semantic_layers: the hidden state read by each main stage.
        structural_layers: the hidden state read by each structural stage.
        valid_range: (nearest, farthest) metres of the training data.
    """

    width: int = 768
    channels: tuple[int, int, int, int] = (256, 128, 64, 32)
    film_hidden: int = 256
    film: bool = True
    structural: bool = True
    auxiliary: bool = True
    semantic_layers: tuple[int, int, int, int] = (12, 9, 6, 3)
    structural_layers: tuple[int, int, int] = (2, 1, 0)
    valid_range: tuple[float, float] = (0.001, 10.0)

    def __post_init__(self) -> None:
        if len(self.channels) != 4 or len(self.semantic_layers) != 4 or len(self.structural_layers) != 3:
            raise BadInput("A SPACE-CLIP head has 4 channel counts, 4 semantic layers and 3 structural layers.")
        if not 0 <= self.valid_range[0] < self.valid_range[1]:
            raise BadInput(
                f"The valid range {self.valid_range} of a SPACE-CLIP head must be 0 <= nearest < farthest, in metres."
            )


def _resized(value: Tensor, size: torch.Size | tuple[int, ...]) -> Tensor:
    if value.shape[-2:] == tuple(size):
        return value
    return F.interpolate(value, tuple(size), mode="bilinear", align_corners=False)


def _normalised_convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Upsample(nn.Module):
    """Doubles a map ``(B, inputs, h, w)`` to ``(B, outputs, 2h, 2w)``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.refine = _normalised_convolution(outputs, outputs)

    def forward(self, running: Tensor) -> Tensor:
        """Returns the doubled map."""
        return self.refine(self.enlarge(running))


class Residual(nn.Module):
    """Two convolutions around a skip connection; size and channels stay."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _normalised_convolution(channels, channels)
        self.dropout = nn.Dropout(0.1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, running: Tensor) -> Tensor:
        """Returns the refined map."""
        return F.relu(self.norm(self.second(self.dropout(self.first(running)))) + running)


class StructuralStage(nn.Module):
    """One step of the shallow pathway: upsample, join the projected tap, fuse."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.upsample = Upsample(inputs, channels)
        self.fuse = _normalised_convolution(2 * channels, channels)

    def forward(self, running: Tensor, tap: Tensor) -> Tensor:
        """Returns the next structural map ``(B, channels, 2h, 2w)``."""
        raised = self.upsample(running)
        return self.fuse(torch.cat([raised, _resized(tap, raised.shape[-2:])], dim=1))


class MainStage(nn.Module):
    """One step of the main pathway: upsample, gate the skips, fuse, refine."""

    def __init__(self, inputs: int, channels: int, structural_channels: int) -> None:
        super().__init__()
        self.upsample = Upsample(inputs, channels)
        self.semantic_gate = nn.Conv2d(channels, channels, 1)
        self.structural_gate = nn.Conv2d(channels, structural_channels, 1) if structural_channels else None
        self.fuse = _normalised_convolution(2 * channels + structural_channels, channels)
        self.residual = Residual(channels)

    def forward(self, running: Tensor, semantic: Tensor, structural: Tensor | None) -> Tensor:
        """Returns the next main map ``(B, channels, 2h, 2w)``."""
        raised = self.upsample(running)
        size = raised.shape[-2:]
        parts = [raised, _resized(semantic, size) * (1 + torch.sigmoid(self.semantic_gate(raised)))]
        if self.structural_gate is not None and structural is not None:
            parts.append(_resized(structural, size) * (1 + torch.sigmoid(self.structural_gate(raised))))
        return self.residual(self.fuse(torch.cat(parts, dim=1)))


class SpaceClipHead(DepthHead):
    """The SPACE-CLIP decoder over the shared encode; metres directly."""

    method = "space_clip"
    # Its 8 bits of rounding are seen in every metre: two thirds of the head's error in bf16 come from here.
    exact_parts = ("depth_head",)

    def __init__(self, config: SpaceClipConfig) -> None:
        super().__init__()
        self.config = config
        width, channels = config.width, config.channels
        self.film = nn.ModuleList(
            nn.Sequential(nn.Linear(width, config.film_hidden), nn.ReLU(), nn.Linear(config.film_hidden, 2 * width))
            for _ in (channels if config.film else ())
        )
        self.semantic_projections = nn.ModuleList(nn.Conv2d(width, c, 1) for c in channels)
        structural_channels = channels[:3] if config.structural else ()
        self.structural_projections = nn.ModuleList(nn.Conv2d(width, c, 1) for c in structural_channels)
        self.structural_stages = nn.ModuleList(
            StructuralStage(inputs, c) for inputs, c in zip((width, *channels), structural_channels)
        )
        self.main_stages = nn.ModuleList(
            MainStage(inputs, c, structural)
            for inputs, c, structural in zip((channels[0], *channels), channels, (*structural_channels, 0, 0, 0, 0))
        )
        self.depth_head = nn.Sequential(
            *_normalised_convolution(channels[3], channels[3] // 2),
            nn.Conv2d(channels[3] // 2, 1, 3, padding=1),
            nn.ReLU(),
        )
        self.auxiliary_heads = nn.ModuleList(
            nn.Sequential(*_normalised_convolution(c, max(c // 2, 16)), nn.Conv2d(max(c // 2, 16), 1, 1), nn.ReLU())
            for c in (channels[:3] if config.auxiliary else ())
        )

    @property
    def layers(self) -> frozenset[int]:
        """The hidden states of both pathways."""
        structural = self.config.structural_layers if self.config.structural else ()
        return frozenset((*self.config.semantic_layers, *structural))

    @property
    def needs_pooled(self) -> bool:
        """FiLM reads the pooled token."""
        return self.config.film

    def forward(self, features: EncoderFeatures, output_size: tuple[int, int]) -> DepthPrediction:
        """Predicts depth ``(B, H, W)`` in metres at ``output_size``; see :class:`DepthPrediction`."""
        depth = self.depth_head(self._stages(features)[-1])
        return DepthPrediction(_resized(depth.float(), output_size)[:, 0], self.config.valid_range)

    def training_outputs(self, features: EncoderFeatures, output_size: tuple[int, int]) -> tuple[Tensor, list[Tensor]]:
        """Returns depth and the auxiliary depths of main stages 0..2, each ``(B, H, W)`` metres at ``output_size``."""
        stages = self._stages(features)
        auxiliary = [
            _resized(head(stage).float(), output_size)[:, 0] for head, stage in zip(self.auxiliary_heads, stages)
        ]
        return _resized(self.depth_head(stages[-1]).float(), output_size)[:, 0], auxiliary

    def _stages(self, features: EncoderFeatures) -> list[Tensor]:
        semantic = self._semantic_taps(features)
        structural = self._structural_maps(features)
        stages: list[Tensor] = []
        for index, stage in enumerate(self.main_stages):
            running = stages[-1] if stages else semantic[0]
            stages.append(stage(running, semantic[index], structural[index] if index < len(structural) else None))
        return stages

    def _semantic_taps(self, features: EncoderFeatures) -> list[Tensor]:
        taps = []
        for index, (layer, projection) in enumerate(zip(self.config.semantic_layers, self.semantic_projections)):
            tap = features.patch_map(layer)
            if self.config.film:
                scale, shift = self.film[index](features.pooled)[..., None, None].chunk(2, dim=1)
                tap = scale * tap + shift
            taps.append(projection(tap))
        return taps

    def _structural_maps(self, features: EncoderFeatures) -> list[Tensor]:
        maps: list[Tensor] = []
        for layer, projection, stage in zip(
            self.config.structural_layers, self.structural_projections, self.structural_stages
        ):
            tap = features.patch_map(layer)
            maps.append(stage(maps[-1] if maps else tap, projection(tap)))
        return maps

    def config_dict(self) -> dict[str, Any]:
        """Returns the configuration as JSON-ready values."""
        return asdict(self.config)

    @classmethod
    def from_config_dict(cls, values: dict[str, Any]) -> SpaceClipHead:
        """Builds the head from :meth:`config_dict`'s values.

        Raises:
            BadInput: a value is missing, unknown or makes no sense.
        """
        try:
            tuples: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
            }
            return cls(SpaceClipConfig(**tuples))
        except TypeError as error:
            raise BadInput(f"The configuration of the SPACE-CLIP head does not fit this version ({error}).") from error
