"""Ctrl-C, SIGTERM (a cluster takes the machine back) and ``--stop-after`` end a training so that it can be resumed."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from clip_depth_training import distributed
from clip_depth_training.fitting.checkpoints import LAST_CHECKPOINT, save

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_AGREE_EVERY = 10  # steps; asking a GPU at every step would make it wait


class Interrupted(Exception):
    """A training that ended before its time, with everything written to go on.

    Attributes:
        signal: number of the signal that ended it; 0 where it ended on request.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Interruption(Callback):
    """Ends the training after the step in hand, with ``last.ckpt`` written, by raising :class:`Interrupted`."""

    def __init__(self, folder: Path, stop_after: int | None = None) -> None:
        self._folder, self._stop_after = folder, stop_after
        self._received = 0
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listens, in place of Lightning's own handlers."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def _note(self, number: int, _: FrameType | None) -> None:
        self._received = number
        self._release()  # a second time ends it at once

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Stops where it must."""
        if trainer.global_step < int(trainer.max_steps) and self._agreed(trainer, pl_module.device):
            save(trainer, self._folder / LAST_CHECKPOINT)
            _log_step(trainer)
            self._stop(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stops after a validation, whose own checkpoint is written by now."""
        fitting = trainer.state.fn == "fit" and trainer.global_step < int(trainer.max_steps)
        if fitting and self._agreed(trainer, pl_module.device):
            self._stop(trainer)

    def _agreed(self, trainer: lightning.Trainer, device: torch.device) -> bool:
        if self._stop_after is not None and trainer.global_step >= self._stop_after:
            return True
        if not distributed.together():
            return bool(self._received)
        if device.type == "cuda" and trainer.global_step % _AGREE_EVERY and not trainer.validating:
            return False
        flag = torch.tensor(float(self._received), device=device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        self._received = int(flag)
        return bool(self._received)

    def _stop(self, trainer: lightning.Trainer) -> None:
        raise Interrupted(
            f"Stopped after step {trainer.global_step} of {trainer.max_steps}: the same command with --resume goes on "
            f"from {self._folder / LAST_CHECKPOINT}.",
            self._received,
        )

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Gives the signals back."""
        self._release()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Gives the signals back."""
        self._release()

    def _release(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}


def _log_step(trainer: lightning.Trainer) -> None:
    """Writes the log of the step in hand, which Lightning would do after the hooks."""
    if trainer.global_step % trainer.log_every_n_steps == 0:
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" not in name}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step - 1)
