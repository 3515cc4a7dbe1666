"""Stops a training whose loss is no number, with what it was computed on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clip_depth_ros.files import replacing
from clip_depth_training import distributed
from clip_depth_training.data_sets.base import Batch

BATCH_FILE = "nan_batch.pt"


class TrainingFailed(RuntimeError):
    """A training that cannot go on; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class _Seen:
    step: int
    batch: Batch
    losses: dict[str, Tensor]
    finite: Tensor
    ready: torch.cuda.Event | None


class FiniteLoss:
    """Looks at every loss.

    On a GPU asking for a number makes the CPU wait for all work queued so far. There the answer is copied in the
    background and read one step later, before any checkpoint is written.
    """

    def __init__(self) -> None:
        self.folder = Path()
        self._seen: _Seen | None = None

    def watch(self, step: int, batch: Batch, losses: dict[str, Tensor]) -> None:
        """Notes the losses of a step; raises for this step on a CPU, for the one before on a GPU.

        Raises:
            TrainingFailed: the loss is not finite; the batch is in ``nan_batch.pt``.
        """
        self.settle()
        finite = torch.isfinite(losses["loss"].detach())
        losses = {name: value.detach() for name, value in losses.items()}
        if finite.device.type != "cuda":
            self._seen = _Seen(step, batch, losses, finite, None)
            self.settle()
            return
        answer = torch.empty((), dtype=torch.bool, pin_memory=True)
        answer.copy_(finite, non_blocking=True)
        ready = torch.cuda.Event()
        ready.record()
        self._seen = _Seen(step, batch, losses, answer, ready)

    def settle(self) -> None:
        """Reads what is still on its way.

        Raises:
            TrainingFailed: the last loss was not finite.
        """
        seen, self._seen = self._seen, None
        if seen is None:
            return
        if seen.ready is not None:
            seen.ready.synchronize()
        if not bool(seen.finite):
            self._stop(seen)

    def _stop(self, seen: _Seen) -> None:
        name = BATCH_FILE if not distributed.rank() else f"nan_batch_{distributed.rank()}.pt"
        losses = {key: float(value) for key, value in seen.losses.items()}
        content = {
            "step": seen.step,
            "images": seen.batch.images.cpu(),
            "depth": seen.batch.depth.cpu(),
            "focal": seen.batch.focal.cpu(),
            "captions": list(seen.batch.captions),
            "losses": losses,
        }
        with replacing(self.folder / name) as temporary:
            torch.save(content, temporary)
        raise TrainingFailed(
            f"The loss became {losses['loss']} at step {seen.step}: its batch is in {self.folder / name} "
            "(torch.load) to look at; start anew, in another folder, without what is wrong in it or with a lower "
            "learning_rate, as --resume would come to the same step."
        )
