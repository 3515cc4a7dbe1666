"""In which floating-point types a network computes, and what is folded away before it does.

Rounding hurts where values are summed up over the depth of a network, and where the last convolutions turn features
into metres. So bf16 is for the products, where the time goes: the running sum of a transformer (its hidden state), its
embedding and its normalisations stay in fp32, and so do the parts that a head names as ``exact_parts``.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from clip_depth_ros.depth.encoder import SharedEncoder

_WORTH = 1.3  # how many times as fast bf16 must be before auto takes it: below, timing noise would decide


class NarrowingLayerNorm(nn.Module):
    """A LayerNorm of a running sum ``(..., D)`` in fp32 whose result is for products in a narrower type."""

    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype) -> None:
        super().__init__()
        self.norm = norm.float()
        self.dtype = dtype

    def forward(self, values: Tensor) -> Tensor:
        """Returns the normalised values as ``dtype``."""
        return self.norm(values.float()).to(self.dtype)


def narrow_blocks(blocks: Iterable[nn.Module], dtype: torch.dtype) -> None:
    """Makes transformer blocks compute their products in ``dtype`` and keep their running sum in fp32, in place.

    A block is what adds branches to its input, each behind a LayerNorm of the block's own: open_clip's and timm's.
    """
    for block in blocks:
        for name, child in block.named_children():
            if isinstance(child, nn.LayerNorm):
                setattr(block, name, NarrowingLayerNorm(child, dtype))
            else:
                child.to(dtype)


def fold_batch_norms(module: nn.Module) -> None:
    """Folds every batch norm into the convolution registered right before it, in place.

    Dropout between them, which does nothing outside training, is looked through. The modules are this project's and
    open_clip's, which register layers in the order they are run.
    """
    for parent in module.modules():
        last: tuple[str, nn.Module] | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and last is not None and isinstance(last[1], nn.Conv2d):
                setattr(parent, last[0], fuse_conv_bn_eval(last[1].eval(), child.eval()).requires_grad_(False))
                setattr(parent, name, nn.Identity())
            if not isinstance(child, nn.Dropout):
                last = (name, child)


def has_batch_norm(module: nn.Module) -> bool:
    """Whether there is anything to fold."""
    return any(isinstance(part, nn.BatchNorm2d) for part in module.modules())


def bf16_gain(encoder: SharedEncoder, rounds: int = 8) -> float:
    """Returns how many times as fast the encoder's first block runs in bf16 as in fp32 on this CPU, measured now.

    A CPU without instructions for bf16 emulates them and is far slower with them; small networks gain nothing.

    Args:
        encoder: a transformer in fp32; left as it is.
        rounds: timings of each, in turns; the shortest are compared, for whatever else runs can only lengthen them.
    """
    pixels = torch.zeros(1, 3, *encoder.config.image_size)
    taken: tuple[list[float], list[float]] = ([], [])
    with torch.no_grad():
        state, grid = encoder.tower.embed(pixels)
        block = encoder.tower.blocks[0]
        narrow = nn.ModuleList([copy.deepcopy(block)])
        narrow_blocks(narrow, torch.bfloat16)
        for _ in range(rounds + 1):
            for times, way in zip(taken, (block, narrow[0])):
                start = time.perf_counter()
                encoder.tower.through(way, state, grid)
                times.append(time.perf_counter() - start)
    # The first of each finds its kernels and is left out.
    wide, fast = (min(times[1:]) for times in taken)
    return wide / fast


class Precision(NamedTuple):
    """The floating-point types a network computes in.

    Attributes:
        encoder: of the encoder; with bf16 that is of its blocks' products alone.
        heads: of the heads, apart from their ``exact_parts``.
        reason: the precision's name and, where it was measured, what was found.
    """

    encoder: torch.dtype
    heads: torch.dtype
    reason: str


_TYPES = {
    "fp32": (torch.float32, torch.float32),
    "bf16": (torch.bfloat16, torch.bfloat16),
    "bf16_encoder": (torch.bfloat16, torch.float32),
    "fp16": (torch.float16, torch.float16),
}


def pick_precision(name: str, device: torch.device, encoder: SharedEncoder) -> Precision:
    """Returns the types for a precision's name.

    ``auto`` is fp16 on a GPU. On a CPU it is bf16 where a block of ``encoder`` runs at least 1.3 times as fast with it
    as with fp32, measured now, and fp32 elsewhere.
    """
    if name != "auto":
        return Precision(*_TYPES[name], name)
    if device.type == "cuda":
        return Precision(*_TYPES["fp16"], "fp16 (auto on a GPU)")
    if not encoder.tower.blocks or encoder.dtype != torch.float32:
        return Precision(*_TYPES["fp32"], "fp32 (auto)")
    gain = bf16_gain(encoder)
    name = "bf16" if gain >= _WORTH else "fp32"
    return Precision(*_TYPES[name], f"{name} (auto: a block takes {gain:.2f} times as long in fp32 as in bf16 here)")
