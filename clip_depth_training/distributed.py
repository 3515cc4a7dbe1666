"""Several processes, one training: who this process is, and sums over all of them.

``torchrun`` says through the environment how many processes there are. Alone, everything here is the identity.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from clip_depth_ros.errors import BadInput


def world_size() -> int:
    """Returns the number of processes of this training."""
    return int(os.environ.get("WORLD_SIZE", "1")) if under_torchrun() else 1


def rank() -> int:
    """Returns this process's number, from 0."""
    return int(os.environ.get("RANK", "0")) if under_torchrun() else 0


def local_world_size() -> int:
    """Returns the number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if under_torchrun() else 1


def under_torchrun() -> bool:
    """Whether ``torchrun`` started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def share(batch_size: int) -> int:
    """Returns how many pictures of a batch this process gets.

    Raises:
        BadInput: the batch does not divide by the processes.
    """
    if batch_size % world_size():
        raise BadInput(
            f"batch_size {batch_size} does not divide by {world_size()} processes: it is the whole batch over all of "
            "them, so set a multiple of their number."
        )
    return batch_size // world_size()


class _AllSum(torch.autograd.Function):
    """The sum over all processes, whose gradient is the sum of the gradients.

    Each process computes the same loss from the sum, so the summed gradient is as many times too large as there are
    processes, which is what DistributedDataParallel divides by.
    """

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        total = value.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def all_sum(*values: Tensor) -> tuple[Tensor, ...]:
    """Returns scalars summed over all processes, in one exchange; differentiable under DistributedDataParallel."""
    if not together():
        return values
    return _AllSum.apply(torch.stack(values)).unbind()


def together() -> bool:
    """Whether several processes are joined."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
