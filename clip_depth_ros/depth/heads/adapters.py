"""What lets a head change a frozen tower without touching it: experts between its blocks, and own copies of blocks."""

from __future__ import annotations

from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clip_depth_ros.depth.encoder import SharedEncoder, check_tensors
from clip_depth_ros.depth.encoder_config import EncoderConfig
from clip_depth_ros.depth.towers import ClipTower, TimmTower, Tower, build_tower
from clip_depth_ros.errors import BadInput


class MixtureOfAdapters(nn.Module):
    """MoA (arXiv 2604.01118): bottleneck experts beside the identity, mixed anew for every token.

    ``x + sum_k g_k(x) E_k(x)`` with ``E_k(x) = U_k GELU(D_k x + c_k) + b_k`` and g the softmax of a small network at a
    temperature; every expert runs, none is left out. The experts' matrices lie side by side, so that all of them are
    two products. Untrained it is the identity: U and b start at 0.
    """

    def __init__(self, width: int, experts: int, bottleneck: int, gate_hidden: int, temperature: float) -> None:
        super().__init__()
        self.experts, self.temperature = experts, temperature
        self.down = nn.Linear(width, experts * bottleneck)
        self.up = nn.Linear(experts * bottleneck, width, bias=False)
        self.up_bias = nn.Parameter(torch.zeros(experts, width))
        self.gate = nn.Sequential(nn.Linear(width, gate_hidden), nn.ReLU(), nn.Linear(gate_hidden, experts))
        nn.init.kaiming_normal_(self.down.weight, nonlinearity="relu")
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the adapted tokens ``(B, N, D)`` and the gates ``(B, N, K)``, which sum to 1."""
        gates = (self.gate(hidden) / self.temperature).softmax(dim=-1)
        inner = F.gelu(self.down(hidden)).unflatten(-1, (self.experts, -1)) * gates.unsqueeze(-1)
        return hidden + self.up(inner.flatten(-2)) + gates @ self.up_bias, gates


class TunedBlocks(nn.Module):
    """A head's own copies of the last blocks of an encoder's tower, for training.

    The tower around them is built on torch's meta device: it takes no memory and knows how its blocks are called.
    Until weights are loaded or copied every tensor is 0, which makes a block the identity.

    Attributes:
        width: D, channels of the tower's hidden states.
        depth: number of the tower's blocks.
        start: number of the first own block.
    """

    def __init__(self, encoder: EncoderConfig, count: int) -> None:
        """Builds the blocks of ``encoder``'s last ``count`` ones.

        Raises:
            BadInput: the tower has no blocks of one width (RN50), fewer than ``count``, or cannot be built.
        """
        super().__init__()
        with torch.device("meta"):
            self._tower = build_tower(encoder)
        all_blocks = tower_blocks(self._tower)
        self.width, self.depth = self._tower.width, self._tower.depth
        if not 0 <= count <= self.depth:
            raise BadInput(
                f"tuned_blocks is {count}, but encoder {encoder.name} has {self.depth} blocks: set 0 to {self.depth}."
            )
        self.start = self.depth - count
        self.blocks: nn.ModuleList = all_blocks[self.start :].to_empty(device="cpu")
        with torch.no_grad():
            for tensor in chain(self.blocks.parameters(), self.blocks.buffers()):
                tensor.zero_()
        if isinstance(self._tower, TimmTower) and self._tower.rope is not None:
            # Rotary positions are computed where the tower is built and are in no file.
            self.rope = self._tower.rope = build_tower(encoder).rope  # type: ignore[attr-defined]

    def forward(self, index: int, hidden: Tensor, grid: tuple[int, int]) -> Tensor:
        """Returns the output ``(B, N, D)`` of block ``index`` of the tower, from ``start`` on, for its input."""
        return self._tower.block(index, hidden, grid)

    def copy_from(self, encoder: SharedEncoder) -> None:
        """Copies the weights of the encoder's own last blocks.

        Raises:
            BadInput: its blocks are of another number or shape.
        """
        source = tower_blocks(encoder.tower)
        if encoder.depth != self.depth:
            raise BadInput(
                f"Encoder {encoder.config.name} has {encoder.depth} blocks, but the head is for a tower of "
                f"{self.depth}: build the head for that encoder."
            )
        values = source[self.start :].state_dict()
        check_tensors(values, self.blocks.state_dict(), f"The blocks of encoder {encoder.config.name} do not fit")
        self.blocks.load_state_dict(values)


def tower_blocks(tower: Tower) -> nn.ModuleList:
    """Returns the transformer blocks of a tower.

    Raises:
        BadInput: a tower without any (RN50).
    """
    if isinstance(tower, ClipTower):
        return tower.visual.transformer.resblocks
    if isinstance(tower, TimmTower):
        return tower.visual.trunk.blocks
    raise BadInput(
        f"Encoder {tower.config.name} is no vision transformer, so a head cannot tune its blocks: take a ViT."
    )
