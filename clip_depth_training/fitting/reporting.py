"""What ``fit`` says while it works: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, RichProgressBar
from rich.console import Console

_REFRESH = 10  # steps; each refresh asks the device for the loss


def progress() -> Callback:
    """Returns what suits stderr."""
    if sys.stderr.isatty():
        return RichProgressBar(refresh_rate=_REFRESH, console_kwargs={"stderr": True})
    return PlainProgress()


class PlainProgress(Callback):
    """Lines on stderr with loss, samples a second and the time left, and one for each validation."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, width=1000, highlight=False)
        self._since, self._step = 0.0, 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the clock."""
        self._since, self._step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Writes a line where the log does."""
        recipe: Any = pl_module.recipe
        step, total = trainer.global_step, int(trainer.max_steps)
        if trainer.is_global_zero and (step % recipe.log_every == 0 or step == total):
            now = time.monotonic()
            rate = (step - self._step) / max(now - self._since, 1e-9)
            self._since, self._step = now, step
            loss = float(trainer.callback_metrics["loss"])
            left = _duration((total - step) / rate) if rate else "?"
            self._say(f"step {step}/{total}, loss {loss:.4f}, {rate * recipe.batch_size:.1f} samples/s, {left} left")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes the metric AbsRel of the raw weights and of their average."""
        if trainer.is_global_zero:
            raw, average = (trainer.callback_metrics[f"{name}/metric/abs_rel"] for name in ("raw", "average"))
            self._say(f"step {trainer.global_step}: validation AbsRel {raw:.4f}, of the average {average:.4f}")
        self._since, self._step = time.monotonic(), trainer.global_step

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{round(seconds)} s"
        if seconds < 120
        else f"{minutes // 60} h {minutes % 60} min"
        if minutes > 90
        else f"{minutes} min"
    )
