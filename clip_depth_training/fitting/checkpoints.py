"""What a training keeps on disk: the last state, the best weights, and, where asked for, a history."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from clip_depth_ros.files import replacing, require_space

LAST_CHECKPOINT, BEST_CHECKPOINT, BEST_FILE = "last.ckpt", "best.ckpt", "best.json"
_METRIC = "metric/abs_rel"


def save(trainer: lightning.Trainer, path: Path) -> None:
    """Writes the whole state of a training; a file that is there is replaced in one go.

    Raises:
        BadInput: there is no room for it, or the folder cannot be written.
    """
    if trainer.is_global_zero:
        with replacing(path) as temporary:
            trainer.save_checkpoint(temporary, weights_only=False)
    else:
        trainer.save_checkpoint(path, weights_only=False)  # takes part without writing


class Checkpoints(Callback):
    """After every validation writes ``last.ckpt``, and ``best.ckpt`` where it found the least metric AbsRel so far.

    Raw weights and their running average are both candidates; a checkpoint holds both, ``best`` inside says which of
    them it is about: ``{"weights": "raw" | "average", "step", "abs_rel", "figures": {...}}``. ``best.json`` has it for
    people.
    """

    def __init__(self, folder: Path, keep_every: int = 0) -> None:
        self.folder, self._keep_every = folder, keep_every
        self.best: dict[str, Any] | None = None
        self._writing_best = False

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Refuses to start where the checkpoints will not fit."""
        trained = sum(value.nbytes for value in pl_module.parameters() if value.requires_grad)
        count = 3 + (int(trainer.max_steps) // self._keep_every if self._keep_every else 0)  # one is being replaced
        if trainer.is_global_zero:
            require_space(self.folder, 4 * trained * count)  # weights, their average and Adam's two moments

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Writes a checkpoint of the history."""
        if self._keep_every and trainer.global_step % self._keep_every == 0:
            save(trainer, self.folder / f"step={trainer.global_step}.ckpt")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes the last state and, where they are the best so far, the weights."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        errors = {weights: figures[f"{weights}/{_METRIC}"] for weights in ("raw", "average")}
        weights = min(errors, key=lambda name: (math.isnan(errors[name]), errors[name]))
        better = self.best is None or math.isnan(self.best["abs_rel"]) or errors[weights] < self.best["abs_rel"]
        if better:
            self.best = {
                "weights": weights,
                "step": trainer.global_step,
                "abs_rel": errors[weights],
                "figures": figures,
            }
        if trainer.state.fn == "fit":
            save(trainer, self.folder / LAST_CHECKPOINT)
        if better:
            self._writing_best = True
            save(trainer, self.folder / BEST_CHECKPOINT)
            self._writing_best = False
            if trainer.is_global_zero:
                with replacing(self.folder / BEST_FILE) as temporary:
                    temporary.write_text(json.dumps(self.best, indent=1) + "\n", encoding="utf-8")

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Says in the best checkpoint which of its weights are the best."""
        if self._writing_best:
            checkpoint["best"] = self.best

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed training must know."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes it."""
        self.best = state_dict["best"]


def step_of(checkpoint: Path) -> int:
    """Returns the optimiser steps of a training checkpoint."""
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])
