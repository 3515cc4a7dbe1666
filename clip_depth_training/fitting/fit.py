"""``clip-depth-train fit``: trains what a recipe says, with checkpoints to go on from."""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_training import distributed
from clip_depth_training.recipe import Recipe

if TYPE_CHECKING:
    from lightning import Trainer
    from lightning.pytorch.callbacks import Callback

    from clip_depth_training.fitting.loading import TrainingData
    from clip_depth_training.fitting.training import MethodTraining

RECIPE_FILE = "recipe.yaml"
_MAY_CHANGE = ("train", "validation", "workers", "log_every", "keep_every", "validation_batch")


def fit(
    recipe: Recipe,
    output: Path,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    stop_after: int | None = None,
) -> MethodTraining:
    """Trains; writes ``last.ckpt``, ``best.ckpt``, ``best.json``, ``recipe.yaml`` and logs into ``output``.

    Under ``torchrun`` it is one of the processes of a training.

    Args:
        recipe: what to train.
        output: folder of this training.
        resume: go on from ``output/last.ckpt``.
        callbacks: more callbacks for the trainer.
        stop_after: end after this step, to be resumed.

    Raises:
        BadInput: nothing to resume, data that cannot be used, or no room on the disk.
        TrainingFailed: the loss became NaN or infinite.
        Interrupted: it ended before its time; it can be resumed.
    """
    import lightning

    from clip_depth_training.fitting.checkpoints import LAST_CHECKPOINT, save
    from clip_depth_training.fitting.interruption import Interruption
    from clip_depth_training.fitting.loading import TrainingData
    from clip_depth_training.fitting.training import MethodTraining

    last = output / LAST_CHECKPOINT
    _check_output(recipe, last, resume)
    keep_freed_memory()
    quieten()
    lightning.seed_everything(recipe.seed, verbose=False)
    data = TrainingData(recipe)
    training = MethodTraining(recipe)
    training.finite.folder = output
    trainer = _trainer(recipe, data, output, last if resume else None, [Interruption(output, stop_after), *callbacks])
    if not distributed.rank():
        with replacing(output / RECIPE_FILE) as temporary:
            temporary.write_text(as_yaml(recipe), encoding="utf-8")
    trainer.fit(training, datamodule=data, ckpt_path=str(last) if resume else None)
    if trainer.global_step >= data.steps:
        save(trainer, last)
        if data.steps % _validate_every(recipe, data):
            trainer.validate(training, datamodule=data, verbose=False)
    return training


def _trainer(
    recipe: Recipe, data: TrainingData, output: Path, checkpoint: Path | None, callbacks: Sequence[Callback]
) -> Trainer:
    import lightning
    import torch
    from lightning.pytorch.callbacks import ProgressBar
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
    from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
    from lightning.pytorch.strategies import DDPStrategy

    from clip_depth_training.fitting.checkpoints import Checkpoints, step_of
    from clip_depth_training.fitting.pictures import Pictures
    from clip_depth_training.fitting.reporting import progress

    gpu, processes = torch.cuda.is_available(), distributed.world_size()
    start = 0 if checkpoint is None else step_of(checkpoint)
    shown = progress()
    # Each stretch of a training has a log folder of its own: the CSV logger empties the one it is given.
    loggers = [
        CSVLogger(output, name="log", version=f"from_step_{start:07d}"),
        TensorBoardLogger(output, name="tensorboard", version=""),
    ]
    return lightning.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=distributed.local_world_size(),
        num_nodes=processes // distributed.local_world_size(),
        strategy=DDPStrategy(process_group_backend="nccl" if gpu else "gloo") if processes > 1 else "auto",
        plugins=[TorchElasticEnvironment() if processes > 1 else LightningEnvironment()],
        sync_batchnorm=gpu and processes > 1 and not recipe.freeze_normalisation,
        use_distributed_sampler=False,
        precision=precision(recipe.precision),
        max_steps=data.steps,
        val_check_interval=_validate_every(recipe, data),
        check_val_every_n_epoch=None,
        gradient_clip_val=recipe.gradient_clip,
        callbacks=[Checkpoints(output, recipe.keep_every), Pictures(data), shown, *callbacks],
        logger=loggers,
        num_sanity_val_steps=0,
        log_every_n_steps=min(recipe.log_every, data.steps),
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=isinstance(shown, ProgressBar),
        default_root_dir=output,
    )


def _check_output(recipe: Recipe, last: Path, resume: bool) -> None:
    if resume and not last.is_file():
        raise BadInput(
            f"{last} does not exist: start without --resume, or give the folder of the training to go on with."
        )
    if not resume and last.is_file():
        raise BadInput(f"{last.parent} holds a training already: give --resume to go on with it, or another folder.")
    kept = last.with_name(RECIPE_FILE)
    if resume and kept.is_file():
        before, now = yaml.safe_load(kept.read_text(encoding="utf-8")), yaml.safe_load(as_yaml(recipe))
        for key in (*before, *now):
            if key not in _MAY_CHANGE and before.get(key) != now.get(key):
                raise BadInput(
                    f"{last.parent} was begun with another {key} than the recipe has now: resume it with {kept}, or "
                    "start anew in another folder."
                )


def as_yaml(recipe: Recipe) -> str:
    """Returns the recipe as a file that :meth:`Recipe.load` reads."""
    values = json.loads(json.dumps(asdict(recipe), default=str))
    return yaml.safe_dump({key: value for key, value in values.items() if value is not None}, sort_keys=False)


def _validate_every(recipe: Recipe, data: TrainingData) -> int:
    return min(recipe.validate_every or recipe.epoch_steps(len(data.train)), data.steps)


def precision(wanted: str) -> str:
    """Returns the precision to train in: 16 bits need a GPU, or a CPU with arithmetic for them."""
    import torch

    if wanted == "32-true" or torch.cuda.is_available() or _cpu_has_bf16():
        return wanted
    return "32-true"


def _cpu_has_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def quieten() -> None:
    """Leaves out what Lightning says about itself."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    for message in (
        r"`isinstance\(treespec",
        r"Found .* module\(s\) in eval mode",  # the frozen encoder is meant to be
        r"The '.*' does not have many workers",
        r"The `srun` command is available",
        r"Checkpoint directory .* exists",
        r"You're resuming from a checkpoint that ended before the epoch ended",  # batches are numbered by step
    ):
        warnings.filterwarnings("ignore", message=message)


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
    parser.add_argument("recipe", help="YAML file, or the name of a shipped recipe (space_clip_nyu)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for checkpoints and log")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the output folder")
    parser.add_argument("--train", metavar="FOLDER", help="data set to learn from, instead of the recipe's")
    parser.add_argument("--validation", metavar="FOLDER", help="data set to measure on, instead of the recipe's")
    parser.add_argument("--batch-size", type=int, metavar="N", help="pictures a step over all processes")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace a value of the recipe, such as network.pretrained=laion2b_s34b_b88k; may be repeated",
    )
    parser.add_argument(
        "--devices", type=int, default=1, metavar="N", help="processes (GPUs) of this machine (default 1)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads of a process (default: its share of all cores)"
    )
    parser.add_argument("--stop-after", type=int, metavar="STEP", help="end after this step, to be resumed")


def run(arguments: argparse.Namespace) -> int:
    """Runs ``fit``."""
    recipe = Recipe.load(arguments.recipe, _changes(arguments))
    if arguments.devices > 1 and not distributed.under_torchrun():
        return _launch(arguments.devices, recipe)
    import torch

    from clip_depth_training.fitting.finite import TrainingFailed
    from clip_depth_training.fitting.interruption import Interrupted

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    elif distributed.local_world_size() > 1:  # torchrun allows one thread where nothing is set
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // distributed.local_world_size()))
    try:
        fit(recipe, arguments.output, arguments.resume, stop_after=arguments.stop_after)
    except TrainingFailed as error:
        sys.stderr.write(f"clip-depth-train fit: {error}\n")
        return 1
    except Interrupted as stopped:
        if not distributed.rank():
            sys.stderr.write(f"{stopped}\n")
        return 128 + stopped.signal if stopped.signal else 0
    return 0


def _changes(arguments: argparse.Namespace) -> list[str]:
    named: dict[str, Any] = {
        "train": arguments.train,
        "validation": arguments.validation,
        "batch_size": arguments.batch_size,
    }
    return [*arguments.set, *(f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None)]


def _launch(processes: int, recipe: Recipe) -> int:
    """Starts this very command under torchrun on this machine; returns its exit code."""
    if recipe.batch_size % processes:
        raise BadInput(
            f"batch_size {recipe.batch_size} does not divide by {processes} devices: set a multiple of them."
        )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    child = subprocess.Popen([*command, "-m", "clip_depth_training.cli", *sys.argv[1:]])
    try:
        return child.wait()
    except KeyboardInterrupt:  # the terminal has told the processes too; they write their checkpoint
        return child.wait() and 128 + signal.SIGINT
