"""SPACE-CLIP (arXiv 2601.17657): its head on a frozen encoder, with the node's own preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.heads.space_clip import SpaceClipConfig, SpaceClipHead
from clip_depth_ros.depth.metrics import valid_pixels
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.base import Batch
from clip_depth_training.losses import space_clip_loss
from clip_depth_training.methods.frozen_encoder import HeadOnFrozenEncoder


@dataclass(frozen=True)
class SpaceClipMethodConfig:
    """The frozen encoder and the head's sizes.

    Attributes:
        encoder: an encoder file of this project (``.safetensors``), or open_clip's name of a model.
        pretrained: for a model of open_clip: a tag, such as ``openai``, or a local ``.safetensors``; empty for random
            weights, which only a benchmark wants.
        channels: decoder channels, coarse to fine.
        film_hidden: hidden width of the FiLM generators.
        film: the paper's ablation switches it off.
        structural: the paper's ablation switches it off.
        semantic_layers: the 4 hidden states of the semantic taps, coarse to fine: 0 is what enters the blocks, i the
            output of the i-th; empty: the published, scaled to the tower.
        structural_layers: the 3 of the structural taps, likewise.
        valid_range: (nearest, farthest) metres that count.
        canonical_focal_px: focal length in encoder-input pixels that predictions are for; empty: depth as the data
            has it, for the data's own camera, as the paper does it.
        supervision_size: (H, W) in pixels of the maps the loss is taken on; empty: the ground truth's own size.
        auxiliary_weights: weights of the auxiliary heads in the loss.
        final_activation: ``relu``, as the authors have it, or ``living``, see :class:`LivingReLU`. Both are the
            authors' ReLU in evaluation and in the node.
        starting_depth: metres that the last biases start from; empty: torch's own start, as the authors have it.
        start_from: a trained head (``.safetensors``) to go on from; empty: random weights.
    """

    encoder: str
    pretrained: str = ""
    channels: tuple[int, int, int, int] = (256, 128, 64, 32)
    film_hidden: int = 256
    film: bool = True
    structural: bool = True
    semantic_layers: tuple[int, ...] = ()
    structural_layers: tuple[int, ...] = ()
    valid_range: tuple[float, float] = (0.001, 10.0)
    canonical_focal_px: float | None = None
    supervision_size: tuple[int, int] | None = None
    auxiliary_weights: tuple[float, float, float] = (0.10, 0.05, 0.0)
    final_activation: str = "living"
    starting_depth: float | None = 2.0
    start_from: str = ""

    def __post_init__(self) -> None:
        if self.final_activation not in ("living", "relu"):
            raise BadInput(f"final_activation is {self.final_activation!r}: it must be living or relu.")
        for name, count in (("semantic_layers", 4), ("structural_layers", 3)):
            layers = getattr(self, name)
            if len(layers) not in (0, count):
                raise BadInput(f"network.{name} is {list(layers)}: give {count} numbers of hidden states, or none.")

    def head_config(self, width: int, depth: int) -> SpaceClipConfig:
        """Returns the head's sizes on a tower; on one of other depth the published layer numbers are scaled.

        Args:
            width: channels of the tower's hidden states.
            depth: its number of blocks.

        Raises:
            BadInput: a layer was asked for that the tower does not have.
        """
        for name in ("semantic_layers", "structural_layers"):
            layers = getattr(self, name)
            if not all(0 <= layer <= depth for layer in layers):
                raise BadInput(
                    f"network.{name} is {list(layers)}, but encoder {self.encoder} has {depth} blocks: give numbers "
                    f"from 0 to {depth}."
                )
        semantic = self.semantic_layers or tuple(round(layer * depth / 12) for layer in (12, 9, 6, 3))
        structural = self.structural_layers or tuple(round(layer * depth / 12) for layer in (2, 1, 0))
        return SpaceClipConfig(
            width=width,
            channels=self.channels,
            film_hidden=self.film_hidden,
            film=self.film,
            structural=self.structural,
            semantic_layers=semantic,  # type: ignore[arg-type]
            structural_layers=structural,  # type: ignore[arg-type]
            valid_range=self.valid_range,
        )


class LivingReLU(nn.Module):
    """ReLU whose gradient does not die in training.

    Pixels of the last stage whose depth is 0 get no gradient from a ReLU, and never come back. In training the part
    below ``knee`` (metres) is a positive exponential that joins on smoothly; in evaluation this is ReLU itself, as the
    node's head has it.
    """

    def __init__(self, knee: float = 0.5) -> None:
        super().__init__()
        self.knee = knee

    def forward(self, depth: Tensor) -> Tensor:
        """Returns positive depth (training) or depth of 0 and above (evaluation), in the shape given."""
        if not self.training:
            return torch.relu(depth)
        below = self.knee * torch.exp((depth / self.knee - 1).clamp_max(0))
        return torch.where(depth >= self.knee, depth, below)


class SpaceClipMethod(HeadOnFrozenEncoder):
    """SPACE-CLIP's head, loss and files."""

    config_class: ClassVar[type] = SpaceClipMethodConfig
    head: SpaceClipHead

    def __init__(self, config: SpaceClipMethodConfig) -> None:
        super().__init__(config.encoder, config.pretrained)
        self.config = config
        self.head = SpaceClipHead(config.head_config(self.encoder.width, self.encoder.depth))
        self.head.to(memory_format=torch.channels_last)
        self.valid_range = config.valid_range
        self.canonical_focal_px = config.canonical_focal_px
        if config.starting_depth is not None:
            self._start_at_typical_depth(config.starting_depth)
        if config.final_activation == "living":
            for head in (self.head.depth_head, *self.head.auxiliary_heads):
                setattr(head, str(len(head) - 1), LivingReLU())
        for head, weight in zip(self.head.auxiliary_heads, config.auxiliary_weights):
            head.requires_grad_(weight > 0)  # several processes wait for the gradient of whatever may have one
        if config.start_from:
            self.go_on_from(Path(config.start_from))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Returns SPACE-CLIP's loss at the supervision size."""
        size = self.config.supervision_size
        truth = batch.depth
        if size is not None and tuple(size) != tuple(truth.shape[1:]):
            truth = F.interpolate(truth[:, None], tuple(size), mode="nearest-exact")[:, 0]
        depth, auxiliary = self._outputs(batch.images, (truth.shape[1], truth.shape[2]))
        mask = valid_pixels(truth, self.valid_range)
        with torch.autocast(batch.images.device.type, enabled=False):  # SSIM's variances cancel in bf16
            target = truth / self.zoom(batch)
            return {"loss": space_clip_loss(depth, auxiliary, target, mask, self.config.auxiliary_weights)}

    @torch.no_grad()
    def predict(self, images: Tensor, output_size: tuple[int, int]) -> Tensor:
        """Returns the head's depth; see :meth:`Method.predict`."""
        return self._outputs(images, output_size)[0]

    def _outputs(self, images: Tensor, output_size: tuple[int, int]) -> tuple[Tensor, list[Tensor]]:
        features = self.encode(self.preprocess(images))
        device = images.device.type
        wanted = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self._head_dtype
        return self.head.training_outputs(features.to(wanted), output_size)

    @property
    def _head_dtype(self) -> torch.dtype:
        return next(self.head.parameters()).dtype

    def _start_at_typical_depth(self, metres: float) -> None:
        """Sets the last biases to a typical depth: from 0 the final ReLUs would start dead in half of all cases."""
        with torch.no_grad():
            for head in (self.head.depth_head, *self.head.auxiliary_heads):
                head.get_parameter("3.bias").fill_(metres)
