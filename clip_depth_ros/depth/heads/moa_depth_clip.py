"""MoA-DepthCLIP: experts inside a CLIP, a scene context from words, bins and regression (arXiv 2604.01118).

No code is public; what the paper leaves open is a value of :class:`MoaDepthClipConfig`. The head takes the shared
encode up to its first adapter and runs its own trunk from there: the encoder's frozen blocks by reference, its own
copies of the last ones, and a mixture of adapters behind some of them.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import EncoderFeatures, SharedEncoder
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.heads.adapters import MixtureOfAdapters, TunedBlocks
from clip_depth_ros.depth.heads.base import DepthHead, DepthPrediction
from clip_depth_ros.errors import BadInput

VISUAL_STATES = ("mean", "last")
BIN_SPACINGS = ("uniform", "log")

# Values of the enlarged logits at once: what a CPU's cache holds, and what fills a GPU.
_CPU_VALUES, _GPU_VALUES = 1 << 19, 1 << 25


@dataclass(frozen=True)
class MoaDepthClipConfig:
    """The tower and the sizes of what is added to it.

    Attributes:
        encoder: the tower the head was trained with; its last blocks are built from this.
        adapter_blocks: blocks (from 0, ascending) whose output an adapter changes and the depth is read from; the last
            must be the tower's last where blocks are tuned.
        tuned_blocks: how many of the last blocks are the head's own.
        experts: experts of an adapter; 0: no adapters (the paper's ablation), the states are read as they are.
        bottleneck: hidden width of an expert.
        gate_hidden: hidden width of an adapter's gate.
        temperature: divides the gate's logits.
        context_width: length of the stored context vector; 0: no context.
        prompts: what the context vector was made from, for people.
        adapt_class_token: whether adapters change the tokens before the patches too.
        visual_states: what is read of the states at ``adapter_blocks``: their ``mean``, or the ``last``.
        bins: number of depth bins.
        bin_spacing: ``uniform``: bins of equal width; ``log``: of equal ratio, so that near ones are narrow.
        bin_range: (nearest, farthest) edge of the bins in metres; the farthest is also the regression's limit.
        regression_weight: share of the regression in the depth, 0..1; the rest is the bins'.
        valid_range: (nearest, farthest) metres of the training data.
    """

    encoder: EncoderConfig
    adapter_blocks: tuple[int, ...] = (2, 5, 8, 11)
    tuned_blocks: int = 4
    experts: int = 4
    bottleneck: int = 64
    gate_hidden: int = 128
    temperature: float = 2.0
    context_width: int = 512
    prompts: tuple[str, ...] = ()
    adapt_class_token: bool = True
    visual_states: str = "mean"
    bins: int = 128
    bin_spacing: str = "uniform"
    bin_range: tuple[float, float] = (0.001, 10.0)
    regression_weight: float = 0.5
    valid_range: tuple[float, float] = (0.001, 10.0)

    def __post_init__(self) -> None:
        blocks = self.adapter_blocks
        if not blocks or blocks[0] < 0 or list(blocks) != sorted(set(blocks)):
            raise BadInput(f"adapter_blocks of MoA-DepthCLIP is {list(blocks)}: give ascending block numbers from 0.")
        for name, least in (("experts", 0), ("bottleneck", 1), ("gate_hidden", 1), ("context_width", 0), ("bins", 2)):
            if getattr(self, name) < least:
                raise BadInput(f"{name} of MoA-DepthCLIP is {getattr(self, name)}, but must be at least {least}.")
        if self.temperature <= 0:
            raise BadInput(f"temperature of MoA-DepthCLIP is {self.temperature}, but must be positive.")
        for name, choices in (("visual_states", VISUAL_STATES), ("bin_spacing", BIN_SPACINGS)):
            if getattr(self, name) not in choices:
                raise BadInput(
                    f"{name} of MoA-DepthCLIP is {getattr(self, name)!r}, but must be {' or '.join(choices)}."
                )
        if self.bin_spacing == "log" and self.bin_range[0] <= 0:
            raise BadInput(
                f"bin_range of MoA-DepthCLIP begins at {self.bin_range[0]}: log bins need a nearest above 0."
            )
        if not 0 <= self.regression_weight <= 1:
            raise BadInput(f"regression_weight of MoA-DepthCLIP is {self.regression_weight}, but must be 0 to 1.")
        for name in ("bin_range", "valid_range"):
            near, far = getattr(self, name)
            if not 0 <= near < far < math.inf:
                raise BadInput(f"{name} of MoA-DepthCLIP is {near} to {far}: it must be 0 <= nearest < farthest, in m.")


class MoaDepthClipHead(DepthHead):
    """MoA-DepthCLIP on the shared encode."""

    method = "moa_depth_clip"
    context: Tensor

    def __init__(self, config: MoaDepthClipConfig) -> None:
        """Builds the head for ``config.encoder``; :meth:`copy_tuned_blocks` makes it ready for training.

        Raises:
            BadInput: the tower is no vision transformer or has other blocks than ``config`` asks for.
        """
        super().__init__()
        self.config = config
        self.tuned = TunedBlocks(config.encoder, config.tuned_blocks)
        blocks, depth = config.adapter_blocks, self.tuned.depth
        if blocks[-1] >= depth or (config.tuned_blocks and blocks[-1] != depth - 1):
            raise BadInput(
                f"adapter_blocks of MoA-DepthCLIP is {list(blocks)}, but encoder {config.encoder.name} has {depth} "
                f"blocks: the last adapter must be behind the last one, {depth - 1}."
            )
        self.adapters = nn.ModuleList(
            MixtureOfAdapters(
                self.tuned.width, config.experts, config.bottleneck, config.gate_hidden, config.temperature
            )
            for _ in (blocks if config.experts else ())
        )
        self.register_buffer("context", torch.zeros(config.context_width))
        inputs = self.tuned.width + config.context_width
        # Convolutions of 1 x 1, as products with tokens.
        self.classification = nn.Linear(inputs, config.bins)
        self.regression = nn.Linear(inputs, 1)

    @property
    def entry(self) -> int:
        """The number of the shared hidden state that enters what is the head's own."""
        return min(self.config.adapter_blocks[0] + 1, self.tuned.start)

    @property
    def layers(self) -> frozenset[int]:
        """One hidden state: the last one that is shared."""
        return frozenset((self.entry,))

    @property
    def needs_pooled(self) -> bool:
        """Never: the head has its own last blocks."""
        return False

    def copy_tuned_blocks(self, encoder: SharedEncoder) -> None:
        """Copies the encoder's last blocks, which training starts from.

        Raises:
            BadInput: the encoder has other blocks.
        """
        self.tuned.copy_from(encoder)

    def forward(self, features: EncoderFeatures, output_size: tuple[int, int]) -> DepthPrediction:
        """Predicts depth and confidence at ``output_size``; see :class:`DepthPrediction`.

        Confidence is 1 - H / log(bins), H the entropy of the bins' distribution: 1 for one bin, 0 for all alike.
        """
        logits, regression, _ = self._maps(features)
        classified, confidence = bin_depth(logits.float(), self.bin_centres(), output_size)
        share = self.config.regression_weight
        depth = torch.lerp(classified, self._regressed(regression, output_size), share)
        return DepthPrediction(depth, self.config.valid_range, confidence)

    def training_outputs(
        self, features: EncoderFeatures, output_size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns what the losses are taken on.

        Returns:
            The bins' logits ``(B, bins, H, W)`` float32; the regression ``(B, H, W)`` float32 in metres; and the mean
            entropy of the gates over all tokens and adapters, 0..1 where 1 is all experts alike, without a graph; None
            without adapters.
        """
        logits, regression, gates = self._maps(features)
        enlarged = F.interpolate(logits.float().permute(0, 3, 1, 2), output_size, mode="bilinear", align_corners=False)
        return enlarged, self._regressed(regression, output_size), _gate_entropy(gates) if gates else None

    def trunk(self, features: EncoderFeatures) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the hidden states ``(B, N, D)`` behind every adapter's place, and the gates ``(B, N, K)`` of each."""
        self._check(features)
        hidden = features.hidden[self.entry]
        adapters = dict(zip(self.config.adapter_blocks, self.adapters))
        states, gates = [], []
        for block in range(self.entry - 1, self.config.adapter_blocks[-1] + 1):
            if block >= self.tuned.start:
                hidden = self.tuned(block, hidden, features.grid)
            elif block >= self.entry:
                hidden = features.blocks[block](hidden)
            if block in adapters:
                kept = 0 if self.config.adapt_class_token else features.prefix_tokens
                adapted, gate = adapters[block](hidden[:, kept:])
                hidden = torch.cat([hidden[:, :kept], adapted], dim=1) if kept else adapted
                gates.append(gate)
            if block in self.config.adapter_blocks:
                states.append(hidden)
        return states, gates

    def bin_centres(self) -> Tensor:
        """Returns the middles of the bins ``(bins,)`` float32 in metres, whatever type the head computes in.

        The middle of a bin of equal ratio is the geometric one.
        """
        near, far = self.config.bin_range
        middles = torch.arange(self.config.bins, device=self.context.device) + 0.5
        if self.config.bin_spacing == "log":
            return near * (middles * (math.log(far / near) / self.config.bins)).exp()
        return middles * ((far - near) / self.config.bins) + near

    def _maps(self, features: EncoderFeatures) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Returns logits ``(B, h, w, bins)`` and raw regression ``(B, h, w)`` at the patches, and the gates."""
        states, gates = self.trunk(features)
        if self.config.visual_states == "last":
            states = states[-1:]
        visual = sum(states[1:], start=states[0])[:, features.prefix_tokens :] / len(states)
        patches = visual.unflatten(1, features.grid)
        # The context is the same at every patch: its share of the product is one row, and no map of it is made.
        width = self.tuned.width
        outputs = [
            F.linear(patches, head.weight[:, :width], F.linear(self.context, head.weight[:, width:], head.bias))
            for head in (self.classification, self.regression)
        ]
        return outputs[0], outputs[1].squeeze(-1), gates

    def _regressed(self, raw: Tensor, size: tuple[int, int]) -> Tensor:
        enlarged = F.interpolate(raw.float()[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        return self.config.bin_range[1] * enlarged.sigmoid()

    def _check(self, features: EncoderFeatures) -> None:
        width = features.hidden[self.entry].shape[-1]
        if width != self.tuned.width or len(features.blocks) != self.tuned.depth:
            raise BadInput(
                f"This MoA-DepthCLIP head is for encoder {self.config.encoder.name} ({self.tuned.depth} blocks of "
                f"width {self.tuned.width}), but the features are of one with {len(features.blocks)} blocks of width "
                f"{width}: give weights that belong together."
            )

    def config_dict(self) -> dict[str, Any]:
        """Returns the configuration as JSON-ready values."""
        return asdict(self.config)

    @classmethod
    def from_config_dict(cls, values: dict[str, Any]) -> MoaDepthClipHead:
        """Builds the head from :meth:`config_dict`'s values.

        Raises:
            BadInput: a value is missing, unknown or makes no sense.
        """
        try:
            known: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
            }
            return cls(MoaDepthClipConfig(**{**known, "encoder": EncoderConfig.from_dict(values["encoder"])}))
        except (KeyError, TypeError) as error:
            raise BadInput(
                f"The configuration of the MoA-DepthCLIP head does not fit this version ({error})."
            ) from error


def bin_depth(logits: Tensor, centres: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Reads depth and confidence from bins whose logits are enlarged first; for inference.

    The enlarged logits of all bins would be hundreds of megabytes, so that they are made and read some rows at a time.

    Args:
        logits: ``(B, h, w, bins)`` float32 at the patches.
        centres: ``(bins,)`` float32, metres.
        size: (H, W) in pixels; bilinear, as ``interpolate`` does it with ``align_corners=False``.

    Returns:
        Expected depth ``(B, H, W)`` in metres, and 1 - entropy / log(bins) ``(B, H, W)`` in 0..1.
    """
    batch, rows, columns, bins = logits.shape
    down, across = _bilinear(rows, size[0], logits.device), _bilinear(columns, size[1], logits.device)
    stretched = (across @ logits).flatten(2)  # (B, h, W * bins)
    depth, entropy = [], []
    # An exported graph repeats the loop: few and large parts.
    small = logits.device.type == "cpu" and not torch.jit.is_tracing()
    values = _CPU_VALUES if small else _GPU_VALUES
    step = max(1, values // (batch * size[1] * bins))
    for start in range(0, size[0], step):
        part = slice(start, start + step)
        enlarged = (down[part] @ stretched).unflatten(2, (size[1], bins))
        shares = enlarged.softmax(dim=-1)
        # log sum exp, from the likeliest bin: its share is its exponential divided by the sum.
        normaliser = enlarged.amax(dim=-1) - shares.amax(dim=-1).log()
        depth.append(shares @ centres)
        entropy.append(normaliser - shares.mul_(enlarged).sum(dim=-1))
    return torch.cat(depth, dim=1).to(logits.dtype), (1 - torch.cat(entropy, dim=1) / math.log(bins)).clamp_(0, 1)


def _bilinear(old: int, new: int, device: torch.device) -> Tensor:
    """Returns the matrix ``(new, old)`` that enlarges an axis linearly, as ``interpolate`` does."""
    unit = torch.eye(old, device=device)[None]
    return F.interpolate(unit, new, mode="linear", align_corners=False)[0].T.contiguous()


def _gate_entropy(gates: list[Tensor]) -> Tensor:
    shares = torch.stack([gate.detach().float() for gate in gates])
    return torch.special.entr(shares).sum(dim=-1).mean() / math.log(max(2, shares.shape[-1]))
