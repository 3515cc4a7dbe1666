"""MoA-DepthCLIP (arXiv 2604.01118): adapters, tuned blocks and two heads, trained together on a frozen CLIP."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder
from clip_depth_ros.depth.heads.moa_depth_clip import MoaDepthClipConfig, MoaDepthClipHead
from clip_depth_ros.depth.metrics import valid_pixels
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.base import Batch
from clip_depth_training.distributed import all_sum
from clip_depth_training.losses import silog_loss
from clip_depth_training.methods.frozen_encoder import HeadOnFrozenEncoder
from clip_depth_training.methods.prompts import SCENE_SETS, embed_prompts, fill

_PUBLISHED_BLOCKS, _PUBLISHED_DEPTH = (2, 5, 8, 11), 12


@dataclass(frozen=True)
class MoaDepthClipMethodConfig:
    """The frozen encoder, the head's sizes and the losses.

    Attributes:
        encoder: an encoder file of this project (``.safetensors``), or open_clip's name of a model.
        pretrained: for a model of open_clip: a tag, such as ``laion2b_s34b_b79k``.
        text: where the text tower of the prompts is; empty: the encoder's own, see :func:`embed_prompts`.
        scene_set: the scenes of the context: ``nyu``, ``outdoor``, or ``none`` for a head without context.
        scenes: the scenes themselves, instead of a set.
        templates: sentences with a place for a scene.
        adapter_blocks: blocks (from 0) with an adapter, whose outputs the depth is read from; empty: the paper's,
            scaled to the tower.
        tuned_blocks: how many of the last blocks are trained.
        experts: experts of an adapter; 0: no adapters, only the tuned blocks and the two outputs are trained, which is
            the paper's ablation "composite loss alone".
        bottleneck: hidden width of an expert.
        gate_hidden: hidden width of an adapter's gate.
        temperature: divides the gate's logits.
        adapt_class_token: whether adapters change the class token too.
        visual_states: what is read of the states behind the adapters: their ``mean``, or the ``last``.
        bins: number of depth bins.
        bin_spacing: ``uniform``: bins of equal width; ``log``: of equal ratio.
        bin_range: (nearest, farthest) edge of the bins in metres at the canonical focal length; what is outside is
            taught as the nearest edge.
        regression_weight: share of the regression in the depth, 0..1.
        valid_range: (nearest, farthest) metres that count.
        canonical_focal_px: focal length in encoder-input pixels that predictions are for; empty: depth as the data
            has it, for the data's own camera, as the paper does it.
        supervision_size: (H, W) in pixels of the maps the loss is taken on; empty: the ground truth's own size.
        cross_entropy_weight: weight of the bins' cross-entropy.
        l1_weight: weight of the regression's L1.
        silog_weight: weight of the regression's SILog.
        starting_depth: metres that the regression starts at; empty: torch's own start.
        start_from: a trained head (``.safetensors``) to go on from; empty: random weights. The context is the recipe's.
    """

    encoder: str
    pretrained: str = ""
    text: str = ""
    scene_set: str = "nyu"
    scenes: tuple[str, ...] = ()
    templates: tuple[str, ...] = ("a photo of a {scene}",)
    adapter_blocks: tuple[int, ...] = ()
    tuned_blocks: int = 4
    experts: int = 4
    bottleneck: int = 64
    gate_hidden: int = 128
    temperature: float = 2.0
    adapt_class_token: bool = True
    visual_states: str = "mean"
    bins: int = 128
    bin_spacing: str = "uniform"
    bin_range: tuple[float, float] = (0.001, 10.0)
    regression_weight: float = 0.5
    valid_range: tuple[float, float] = (0.001, 10.0)
    canonical_focal_px: float | None = None
    supervision_size: tuple[int, int] | None = None
    cross_entropy_weight: float = 1.0
    l1_weight: float = 1.0
    silog_weight: float = 0.5
    starting_depth: float | None = 2.0
    start_from: str = ""

    def __post_init__(self) -> None:
        if self.scene_set not in SCENE_SETS:
            raise BadInput(f"scene_set is {self.scene_set!r}: it must be {', '.join(SCENE_SETS)}.")
        if min(self.cross_entropy_weight, self.l1_weight, self.silog_weight) < 0:
            raise BadInput("cross_entropy_weight, l1_weight and silog_weight of MoA-DepthCLIP must not be negative.")
        if self.starting_depth is not None and not 0 < self.starting_depth < self.bin_range[1]:
            raise BadInput(
                f"starting_depth is {self.starting_depth} m: it must lie between 0 and the end of bin_range, "
                f"{self.bin_range[1]} m."
            )

    @property
    def prompts(self) -> tuple[str, ...]:
        """The sentences of the context vector."""
        return fill(self.templates, self.scenes or SCENE_SETS[self.scene_set])

    def head_config(self, encoder: SharedEncoder, context_width: int) -> MoaDepthClipConfig:
        """Returns the head on an encoder; on a tower of other depth the paper's adapters keep their places."""
        scaled = tuple(round((block + 1) * encoder.depth / _PUBLISHED_DEPTH) - 1 for block in _PUBLISHED_BLOCKS)
        return MoaDepthClipConfig(
            encoder=encoder.config,
            adapter_blocks=self.adapter_blocks or scaled,
            tuned_blocks=self.tuned_blocks,
            experts=self.experts,
            bottleneck=self.bottleneck,
            gate_hidden=self.gate_hidden,
            temperature=self.temperature,
            context_width=context_width,
            prompts=self.prompts,
            adapt_class_token=self.adapt_class_token,
            visual_states=self.visual_states,
            bins=self.bins,
            bin_spacing=self.bin_spacing,
            bin_range=self.bin_range,
            regression_weight=self.regression_weight,
            valid_range=self.valid_range,
        )


class MoaDepthClipMethod(HeadOnFrozenEncoder):
    """MoA-DepthCLIP's head, losses and files."""

    config_class: ClassVar[type] = MoaDepthClipMethodConfig
    head: MoaDepthClipHead

    def __init__(self, config: MoaDepthClipMethodConfig) -> None:
        super().__init__(config.encoder, config.pretrained)
        self.config = config
        context = self._context_vector()
        self.head = MoaDepthClipHead(config.head_config(self.encoder, len(context)))
        self.head.context.copy_(context)
        self.head.copy_tuned_blocks(self.encoder)
        self.valid_range = config.valid_range
        self.canonical_focal_px = config.canonical_focal_px
        if config.starting_depth is not None:
            share = config.starting_depth / config.bin_range[1]
            nn.init.constant_(self.head.regression.bias, math.log(share / (1 - share)))
        if config.start_from:
            self.go_on_from(Path(config.start_from), own=("context",))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the weighted sum, its three parts and, with adapters, the gates' entropy: logged, never a loss."""
        config, truth = self.config, batch.depth
        size = config.supervision_size or (truth.shape[1], truth.shape[2])
        if tuple(size) != tuple(truth.shape[1:]):
            truth = F.interpolate(truth[:, None], tuple(size), mode="nearest-exact")[:, 0]
        logits, regression, entropy = self.head.training_outputs(self._encode(batch.images), (size[0], size[1]))
        mask = valid_pixels(truth, self.valid_range)
        with torch.autocast(batch.images.device.type, enabled=False):
            target = truth / self.zoom(batch)
            parts = moa_losses(logits, regression, target, mask, config.bin_range, config.bin_spacing)
        weights = (config.cross_entropy_weight, config.l1_weight, config.silog_weight)
        total = sum((weight * part for weight, part in zip(weights, parts.values())), start=regression.new_zeros(()))
        return {"loss": total, **parts, **({} if entropy is None else {"gate_entropy": entropy})}

    @torch.no_grad()
    def predict(self, images: Tensor, output_size: tuple[int, int]) -> Tensor:
        """Returns the head's depth; see :meth:`Method.predict`."""
        return self.head(self._encode(images), output_size).depth

    def _encode(self, images: Tensor) -> EncoderFeatures:
        """Runs the encoder up to the first adapter, without a graph; the blocks it gives do have one."""
        return self.encode(self.preprocess(images)).to(self.head.context.dtype)

    def _context_vector(self) -> Tensor:
        """Returns the mean of the prompts' embeddings ``(E,)``, or nothing where there are no prompts."""
        config = self.config
        if not config.prompts:
            return torch.zeros(0)
        return embed_prompts(config.prompts, config.encoder, config.pretrained, config.text).mean(dim=0)


def moa_losses(
    logits: Tensor,
    regression: Tensor,
    target: Tensor,
    mask: Tensor,
    bin_range: tuple[float, float],
    bin_spacing: str = "uniform",
) -> dict[str, Tensor]:
    """Returns the three parts of the loss, each a mean over the valid pixels of the whole batch, over all processes.

    Args:
        logits: ``(B, bins, H, W)`` float32.
        regression: ``(B, H, W)`` float32, metres.
        target: ``(B, H, W)`` float32, metres; what is outside ``bin_range`` is taken as the nearest edge.
        mask: ``(B, H, W)`` bool, the pixels that count.
        bin_range: (nearest, farthest) edge of the bins, metres.
        bin_spacing: ``uniform`` for bins of equal width, ``log`` for bins of equal ratio.

    Returns:
        ``cross_entropy`` of the bins, ``l1`` of the regression, and its ``silog``, here without a square root:
        10 (var(g) + 0.85 mean(g)^2), g = log prediction - log target.
    """
    near, far = bin_range
    bins = logits.shape[1]
    target = torch.where(mask, target, far).clamp(near, far)
    logarithmic = bin_spacing == "log"
    share = (target / near).log() / math.log(far / near) if logarithmic else (target - near) / (far - near)
    index = (share * bins).long().clamp_(0, bins - 1)
    surprise = F.cross_entropy(logits, index.masked_fill(~mask, -100), ignore_index=-100, reduction="sum")
    error = torch.where(mask, (regression - target).abs(), 0.0).sum()
    surprise, error, count = all_sum(surprise, error, mask.sum().to(error.dtype))
    count = count.clamp_min(1)
    silog = silog_loss(regression, target, mask, scale_weight=0.85).square() / 10
    return {"cross_entropy": surprise / count, "l1": error / count, "silog": silog}
