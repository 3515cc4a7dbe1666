"""The running average of weights and buffers that SPACE-CLIP's authors evaluate."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn


class RunningAverage(nn.Module):
    """Follows a module's weights and buffers, from the initial ones on.

    torch's ``AveragedModel`` copies at its first update instead, and asks the device for its counter at every update,
    which makes a GPU wait.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.decay = decay
        # Buffers that no file holds are constants, such as a mask of minus infinity, whose average is no number.
        self._kept = frozenset(self.module.state_dict())

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Moves towards ``module`` by 1 - decay; counters are copied."""
        averages: list[Tensor] = []
        values: list[Tensor] = []
        for average, value in zip(self._state(self.module), self._state(module)):
            if average.is_floating_point():
                averages.append(average)
                values.append(value.detach())
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1 - self.decay)

    def _state(self, module: nn.Module) -> Iterator[Tensor]:
        """Yields the weights and those buffers that belong to a module's state."""
        yield from module.parameters()
        yield from (buffer for name, buffer in module.named_buffers() if name in self._kept)


@contextmanager
def exchanged(first: nn.Module, second: nn.Module) -> Iterator[None]:
    """Has two modules of one shape hold each other's weights and buffers; nothing is copied."""
    pairs = list(zip(_tensors(first), _tensors(second)))

    def exchange() -> None:
        for one, other in pairs:
            one.data, other.data = other.data, one.data
        torch.clear_autocast_cache()  # it holds 16-bit copies of the weights that were there

    exchange()
    try:
        yield
    finally:
        exchange()


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())
