"""The trainer's module: any method of :mod:`clip_depth_training.methods`, with a running average of what it trains."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from clip_depth_ros.depth.metrics import depth_metrics, valid_pixels
from clip_depth_training import distributed
from clip_depth_training.augmentation import Place, augment
from clip_depth_training.data_sets.base import Batch
from clip_depth_training.fitting.averaging import RunningAverage, exchanged
from clip_depth_training.fitting.finite import FiniteLoss
from clip_depth_training.fitting.loading import TrainingData
from clip_depth_training.recipe import Recipe

LOGGED_METRICS = ("abs_rel", "a1")


class MethodTraining(lightning.LightningModule):
    """A recipe's method with its optimiser and a running average of the trained weights and buffers."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.method = recipe.build()
        for module in self.method.trained.modules():
            if isinstance(module, nn.Dropout) and recipe.dropout is not None:
                module.p = recipe.dropout
        self.average = RunningAverage(self.method.trained, recipe.ema_decay)
        self.finite = FiniteLoss()
        self._sums: dict[str, list[Tensor]] = {}
        self.train()  # Lightning keeps the modes it finds

    def setup(self, stage: str) -> None:
        """Has what is frozen compute in 16 bits where the training does."""
        if self.trainer.precision == "bf16-mixed":
            self.method.compute_frozen_in(torch.bfloat16)

    def train(self, mode: bool = True) -> MethodTraining:
        """Sets the mode; frozen batch norms stay in evaluation."""
        super().train(mode)
        if mode and self.recipe.freeze_normalisation:
            for module in self.method.trained.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Returns the loss of one step; its random draws depend on seed, step and place in the batch alone."""
        step, rank = self.global_step, distributed.rank()
        torch.manual_seed((self.recipe.seed * 1_000_003 + step) * 4099 + rank)  # dropout
        batch = augment(batch, self.recipe.augmentation, Place(self.recipe.seed, step, rank * len(batch)))
        with _attention(batch.images.device):
            losses = self.method.losses(batch)
        self.finite.watch(step, batch, losses)
        for name, value in losses.items():
            self.log(name, value.detach(), prog_bar=True, on_step=True)
        return losses["loss"]

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """Steps, then moves the running average: later hooks would run after the checkpoint of this step is written."""
        super().optimizer_step(*arguments, **named)
        self.average.update(self.method.trained)

    def on_validation_epoch_start(self) -> None:
        """Forgets the last validation."""
        self._sums = {}

    def validation_step(self, batches: list[Batch], number: int) -> None:
        """Measures the weights and their running average on samples of any sizes."""
        data: TrainingData = self.trainer.datamodule
        left = data.validation_share(number)
        for batch in batches:
            batch = _first(batch, left)
            left -= len(batch)
            if not len(batch):
                break
            with _attention(batch.images.device):
                self._measure("raw", batch)
                with exchanged(self.method.trained, self.average.module):
                    self._measure("average", batch)

    def _measure(self, name: str, batch: Batch) -> None:
        depth = self.method.metres(batch).float()
        mask = valid_pixels(batch.depth, self.method.valid_range)
        for protocol, median in (("metric", False), ("median", True)):
            values = depth_metrics(depth, batch.depth, mask, self.method.valid_range, median)
            for metric in LOGGED_METRICS:
                self._add(f"{name}/{protocol}/{metric}", values[metric].sum(), len(values[metric]))
        for measure, value in self.method.measures(batch).items():
            self._add(f"{name}/{measure}", value * len(batch), len(batch))

    def _add(self, name: str, total: Tensor, count: int) -> None:
        sums = self._sums.setdefault(name, [torch.zeros(2, dtype=torch.float64, device=total.device)])
        sums.append(torch.stack([total.double(), total.new_tensor(count, dtype=torch.float64)]))

    def on_validation_epoch_end(self) -> None:
        """Logs the mean of every figure over the images of all processes."""
        names = sorted(self._sums)
        if distributed.together():
            gathered: list[Any] = [None] * distributed.world_size()
            torch.distributed.all_gather_object(gathered, names)
            names = sorted({name for part in gathered for name in part})
        for name in names:
            total, count = torch.stack(self._sums.get(name, [torch.zeros(2, device=self.device).double()])).sum(0)
            total, count = distributed.all_sum(total, count)
            self.log(name, (total / count).float())
        self._sums = {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves a frozen encoder out: it is read from its own file again."""
        self.finite.settle()
        checkpoint["frozen_identity"] = self.method.frozen_identity
        checkpoint["started_from"], checkpoint["history"] = self.method.started_from, self.method.history
        kept = {id(value) for value in self.method.trained.state_dict(keep_vars=True).values()}
        for name, value in self.method.state_dict(keep_vars=True).items():
            if id(value) not in kept:
                checkpoint["state_dict"].pop(f"method.{name}", None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Puts the frozen weights, which the checkpoint leaves out, back into what is about to be loaded."""
        self.method.check_frozen(str(checkpoint.get("frozen_identity", "")), "The interrupted training")
        self.method.started_from = str(checkpoint.get("started_from", ""))
        self.method.history = str(checkpoint.get("history", ""))
        for name, value in self.state_dict().items():
            if name.startswith("method."):
                checkpoint["state_dict"].setdefault(name, value)

    def configure_optimizers(self) -> Any:
        """AdamW with a linear warm-up, then a cosine or steps."""
        recipe, steps = self.recipe, int(self.trainer.max_steps)
        trained = [value for value in self.method.trained.parameters() if value.requires_grad]
        decayed = [value for value in trained if value.ndim > 1 or recipe.decay_norms_and_biases]
        others = [value for value in trained if not (value.ndim > 1 or recipe.decay_norms_and_biases)]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}]
        groups += [{"params": others, "weight_decay": 0.0}] if others else []
        optimizer = torch.optim.AdamW(groups, recipe.learning_rate, (0.9, recipe.beta2), foreach=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(recipe, step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """Returns the learning rate of ``step`` (from 0) as a share of the peak: linear warm-up, then cosine or steps."""
    warm = max(1, round(recipe.warm_up * steps))
    if step < warm:
        return (step + 1) / warm
    if recipe.schedule is not None:
        passed = step if recipe.epochs is None else step * recipe.epochs // steps
        return recipe.schedule.factor ** (passed // recipe.schedule.every)
    floor = recipe.final_learning_rate / recipe.learning_rate
    progress = min(1.0, (step - warm) / max(1, steps - 1 - warm))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _attention(device: torch.device) -> AbstractContextManager[Any]:
    # torch's fused attention is slower than plain matrix products for so few tokens on a CPU, with gradients.
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _first(batch: Batch, count: int) -> Batch:
    """Returns the first ``count`` samples of a batch."""
    if count >= len(batch):
        return batch
    count = max(0, count)
    parts = {name: getattr(batch, name)[:count] for name in ("images", "depth", "focal", "captions")}
    return replace(batch, **parts)
