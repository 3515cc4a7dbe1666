"""``clip-depth-train fit``: trains what a recipe says, with checkpoints to go on from."""

from __future__ import annotations

import argparse
import ctypes
import math
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from clip_depth_ros.depth.metrics import depth_metrics, valid_pixels
from clip_depth_ros.errors import BadInput
from clip_depth_training.augmentation import augment
from clip_depth_training.data_sets.base import Batch, same
from clip_depth_training.data_sets.rooms import RoomSet
from clip_depth_training.data_sets.sampler import StepSampler
from clip_depth_training.losses import space_clip_loss
from clip_depth_training.network import DepthNetwork
from clip_depth_training.recipe import Recipe

LAST_CHECKPOINT = "last.ckpt"


class DepthTraining(lightning.LightningModule):
    """SPACE-CLIP's recipe over encoder and head together, with a running average of weights and buffers."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = DepthNetwork(recipe.network, recipe.name)
        self.network.head.to(memory_format=torch.channels_last)
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True
        ).requires_grad_(False)
        # AveragedModel copies at its first update; SPACE-CLIP's average starts from the initial weights.
        self.average.n_averaged.fill_(1)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Returns the loss of one step; its random draws depend on seed and step alone."""
        recipe = self.recipe
        seed = recipe.seed * 1_000_003 + self.global_step
        torch.manual_seed(seed)  # dropout
        batch = augment(batch, recipe.augmentation, torch.Generator().manual_seed(seed))
        side = recipe.supervision_size
        # torch's fused attention is slower than plain matrix products for so few tokens on a CPU.
        with sdpa_kernel(SDPBackend.MATH):
            depth, auxiliary = self.network(batch.images, (side, side))
        height, width = batch.depth.shape[1:]
        truth = batch.depth[:, :: max(1, height // side), :: max(1, width // side)]
        mask = valid_pixels(truth, recipe.network.valid_range)
        with torch.autocast(batch.images.device.type, enabled=False):  # SSIM's variances cancel in bf16
            loss = space_clip_loss(depth, auxiliary, truth / self.network.zoom(batch), mask)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"The loss is {float(loss)} at step {self.global_step}.")
        self.log("loss", loss.detach(), prog_bar=True, on_step=True)
        return loss

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """Steps, then moves the running average: later hooks would run after the checkpoint of this step is written."""
        super().optimizer_step(*arguments, **named)
        self.average.update_parameters(self.network)

    def validation_step(self, batch: Batch, _: int) -> None:
        """Logs metric and median-scaled errors of the weights and of their running average."""
        networks = {"raw": self.network, "average": cast(DepthNetwork, self.average.module)}
        for name, network in networks.items():
            depth = network.metres(batch).float()
            mask = valid_pixels(batch.depth, self.recipe.network.valid_range)
            for protocol, median in (("metric", False), ("median", True)):
                values = depth_metrics(depth, batch.depth, mask, self.recipe.network.valid_range, median)
                for metric in ("abs_rel", "a1"):
                    self.log(f"{name}/{protocol}/{metric}", values[metric].mean().float(), batch_size=len(batch))

    def configure_optimizers(self) -> Any:
        """AdamW; norms, biases, tokens and positions without decay. Linear warm-up, then cosine."""
        recipe = self.recipe
        trained = [value for value in self.network.parameters() if value.requires_grad]
        groups = [
            {"params": [value for value in trained if value.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [value for value in trained if value.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, foreach=True)
        warm = max(1, round(recipe.warm_up * recipe.steps))
        floor = recipe.final_learning_rate / recipe.learning_rate

        def factor(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            progress = min(1.0, (step - warm) / max(1, recipe.steps - warm))
            return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class RoomData(lightning.LightningDataModule):
    """Rendered rooms for the trainer; batches are numbered by step, so that a resumed run goes on exactly."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe

    def setup(self, stage: str) -> None:
        """Maps the data."""
        self.train, self.validation = RoomSet(self.recipe.train), RoomSet(self.recipe.validation)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Returns batches from the trainer's present step on."""
        recipe, trainer = self.recipe, self.trainer
        assert trainer is not None
        sampler = StepSampler(
            len(self.train),
            recipe.batch_size,
            recipe.steps,
            recipe.seed,
            start=trainer.global_step,
        )
        return DataLoader(self.train, batch_sampler=sampler, collate_fn=same)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Returns the validation rooms in order."""
        return DataLoader(self.validation, batch_size=50, collate_fn=same)


def fit(recipe: Recipe, output: Path, resume: bool = False, callbacks: Sequence[Callback] = ()) -> DepthTraining:
    """Trains; writes checkpoints, a log (CSV) and ``last.ckpt`` into ``output``.

    Args:
        recipe: what to train.
        output: folder of this training.
        resume: go on from ``output/last.ckpt``.
        callbacks: more callbacks for the trainer.

    Raises:
        BadInput: nothing to resume, or data that cannot be used.
    """
    last = output / LAST_CHECKPOINT
    if resume and not last.is_file():
        raise BadInput(
            f"{last} does not exist: start without --resume, or give the folder of the training to go on with."
        )
    if not resume and last.is_file():
        raise BadInput(f"{output} holds a training already: give --resume to go on with it, or another folder.")
    keep_freed_memory()
    lightning.seed_everything(recipe.seed, verbose=False)
    training = DepthTraining(recipe)
    checkpoints = ModelCheckpoint(
        output,
        filename="{step}",
        every_n_train_steps=recipe.validate_every,
        save_top_k=-1,
        save_last=True,
        enable_version_counter=False,
    )
    trainer = lightning.Trainer(
        accelerator="auto",
        devices=1,
        precision=recipe.precision,
        max_steps=recipe.steps,
        val_check_interval=min(recipe.validate_every, recipe.steps),
        check_val_every_n_epoch=None,
        gradient_clip_val=recipe.gradient_clip,
        callbacks=[checkpoints, *callbacks],
        logger=CSVLogger(output, name="log", version=_log_name(last if resume else None)),
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        enable_model_summary=False,
        default_root_dir=output,
    )
    trainer.fit(training, datamodule=RoomData(recipe), ckpt_path=str(last) if resume else None)
    if trainer.global_step >= recipe.steps:
        trainer.save_checkpoint(last)
    return training


def _log_name(checkpoint: Path | None) -> str:
    """Returns a log folder of its own for each stretch of a training: the logger empties the folder it is given."""
    step = 0 if checkpoint is None else torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"]
    return f"from_step_{step:07d}"


def keep_freed_memory() -> None:
    """Has glibc keep freed memory: handing megabytes back at each operation halves the speed of a CPU training."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        libc.mallopt(mmap_threshold, 32 << 20)
        libc.mallopt(trim_threshold, (1 << 31) - 1)
        libc.mallopt(top_pad, 256 << 20)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``fit``."""
    parser.add_argument("recipe", help="YAML file, or the name of a shipped recipe (demo_rooms)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for checkpoints and log")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the output folder")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")


def run(arguments: argparse.Namespace) -> int:
    """Runs ``fit``."""
    torch.set_num_threads(arguments.threads)
    fit(Recipe.load(arguments.recipe), arguments.output, arguments.resume)
    return 0
