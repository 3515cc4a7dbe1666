"""``clip-depth-train export``: from a training to the weight files the node loads."""

from __future__ import annotations

import argparse
import pickle
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip_depth_ros.depth.checkpoint import ENCODER_ONLY, load_checkpoint, read_metadata, save_checkpoint
from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_training.evaluation.stored import StoredReport, read_report
from clip_depth_training.evaluation.weights import tensors_hash
from clip_depth_training.fitting.fit import RECIPE_FILE
from clip_depth_training.methods.base import Method
from clip_depth_training.provenance import provenance_of
from clip_depth_training.recipe import Recipe

BEST_CHECKPOINT, LAST_CHECKPOINT = "best.ckpt", "last.ckpt"
WEIGHTS = ("best", "average", "raw")
_RAW, _AVERAGE = "method.", "average.module."
_TOLD = {"raw": "raw weights", "average": "running average"}


@dataclass(frozen=True)
class Trained:
    """A trained method, frozen.

    Attributes:
        method: with the weights chosen.
        weights: ``raw`` or ``average``.
        steps: optimiser steps of these weights.
        note: what a validation found about them; empty where there was none.
    """

    method: Method
    weights: str
    steps: int
    note: str = ""


def find_checkpoint(training: Path) -> Path:
    """Returns the checkpoint to take: ``training`` itself, or the best (else the last) one of the folder ``training``.

    Raises:
        BadInput: the folder holds none.
    """
    if not training.is_dir():
        return training
    for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
        if (training / name).is_file():
            return training / name
    raise BadInput(
        f"{training} holds no {BEST_CHECKPOINT} or {LAST_CHECKPOINT}: give the folder of `clip-depth-train fit`."
    )


def find_recipe(given: str | None, checkpoint: Path) -> Recipe:
    """Returns the recipe given, or the copy that ``fit`` keeps beside its checkpoints.

    Raises:
        BadInput: there is none, or it cannot be read.
    """
    if given is not None:
        return Recipe.load(given)
    kept = checkpoint.parent / RECIPE_FILE
    if not kept.is_file():
        raise BadInput(f"{kept} does not exist: give --recipe, the recipe that {checkpoint.name} was trained with.")
    return Recipe.load(kept)


def load_trained(checkpoint: Path, recipe: Recipe, weights: str = "best") -> Trained:
    """Builds a recipe's method with the weights of a training checkpoint.

    Args:
        checkpoint: ``.ckpt`` of ``fit``.
        recipe: what it was trained with.
        weights: one of :data:`WEIGHTS`; ``best`` is what validation found better at the checkpoint's own step, and
            the running average where the checkpoint says nothing about that.

    Raises:
        BadInput: the file is missing, damaged, or of another recipe, or the recipe's encoder cannot be had.
    """
    content = _read(checkpoint)
    steps = int(content["global_step"])
    best = content.get("best") or {}
    validated = bool(best) and int(best.get("step", -1)) == steps
    if weights == "best":
        weights = str(best["weights"]) if validated else "average"
    method = recipe.build()
    _load(method, content["state_dict"], weights, checkpoint, recipe)
    method.check_frozen(str(content.get("frozen_identity", "")), str(checkpoint))
    method.started_from = str(content.get("started_from", ""))  # the weights it began with may be gone by now
    method.history = str(content.get("history", ""))
    method.requires_grad_(False).eval()
    tells = validated and weights == best["weights"]
    note = f"best of its validations, metric AbsRel {best['abs_rel']:.3f}" if tells else ""
    return Trained(method, weights, steps, note)


def export(
    trained: Trained, recipe: Recipe, output: Path, report: Path | None = None, half: bool = False, whole: bool = False
) -> list[Path]:
    """Writes the weight files with full provenance; all of them appear, or none.

    Args:
        trained: what to write; with ``half`` its weights are rounded in place.
        recipe: what it was trained with.
        output: folder for the files.
        report: JSON of ``clip-depth-train evaluate`` for the card.
        half: store 16-bit numbers; of a head on a frozen encoder file only the head's, unless ``whole``.
        whole: put the encoder into the head's file.

    Returns:
        The files.

    Raises:
        BadInput: the report is of other weights or another method, there is no head or encoder to put together,
            numbers too large for 16 bits, training data that cannot be described, or a folder that cannot be written.
    """
    method = trained.method
    encoder = getattr(method, "encoder", None)
    if half:
        _round(method if whole else method.trained)
    measured = None if report is None else read_report(report)
    metrics = () if measured is None else measured.rows_of(recipe.method)
    told = ", ".join(filter(None, (_TOLD[trained.weights], trained.note)))
    provenance = provenance_of(recipe, method, trained.steps, told, metrics)
    existed = output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export_", dir=output) as folder:
            files = method.export(Path(folder), provenance)
            if whole:
                _add_encoder(files, encoder, recipe)
            if measured is not None:
                _check_measured(measured, files, recipe.method)
            return [_moved(file, output / file.name) for file in files]
    except OSError as error:
        raise BadInput(
            f"{output} cannot be written ({error.strerror or error}): choose a folder you can write to."
        ) from error
    finally:
        if not existed:
            with suppress(OSError):  # it holds the files, or was never made
                output.rmdir()


def _read(checkpoint: Path) -> dict[str, Any]:
    """Returns what a checkpoint of ``fit`` holds; never runs code from it."""
    if not zipfile.is_zipfile(checkpoint):
        raise BadInput(
            f"{checkpoint} is not a checkpoint of `clip-depth-train fit`, or it is missing or cut off: give the "
            "folder of a training, or one of its .ckpt files."
        )
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if not isinstance(content["state_dict"], dict) or not isinstance(content["global_step"], int):
            raise TypeError("no state_dict, or no global_step")
        return dict(content)
    except (OSError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise BadInput(
            f"{checkpoint} is not a checkpoint of `clip-depth-train fit` ({type(error).__name__})."
        ) from error


def _load(method: Method, state: dict[str, Tensor], weights: str, checkpoint: Path, recipe: Recipe) -> None:
    """Loads the trained part; frozen weights are not in checkpoints and stay as they were built."""
    prefix = _RAW if weights == "raw" else _AVERAGE
    values = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    target = method if weights == "raw" else method.trained
    trained = {id(value) for value in method.trained.state_dict(keep_vars=True).values()}
    needed = {name for name, value in target.state_dict(keep_vars=True).items() if id(value) in trained}
    try:
        missing, unexpected = target.load_state_dict(values, strict=False)
        wrong = sorted(set(missing) & needed) + sorted(unexpected)
    except RuntimeError:  # tensors of other shapes
        wrong = ["sizes"]
    if wrong:
        raise BadInput(
            f"{checkpoint} does not fit the recipe {recipe.name} ({wrong[0]}): give the recipe it was trained with."
        )


def _round(part: torch.nn.Module) -> None:
    """Rounds to 16 bits, in place."""
    part.half()
    for name, value in part.state_dict().items():
        if not torch.isfinite(value).all():
            raise BadInput(f"{name} has numbers that 16 bits cannot hold: export without --half.")


def _add_encoder(files: list[Path], encoder: Any, recipe: Recipe) -> None:
    """Puts the encoder into the head's file, as ``clip-depth import`` does."""
    heads = [file for file in files if file.suffix == ".safetensors" and _is_head(file)]
    if len(heads) != 1 or encoder is None:
        raise BadInput(
            f"The recipe {recipe.name} trains no head to put an encoder beside: export it without --with-encoder."
        )
    checkpoint = load_checkpoint(heads[0])
    head = checkpoint.build_head()
    if {value.dtype for value in checkpoint.head.values()} & {torch.float16}:
        head.half()
    save_checkpoint(heads[0], checkpoint.metadata, head=head, encoder=encoder)


def _is_head(file: Path) -> bool:
    try:
        return read_metadata(file).method != ENCODER_ONLY
    except BadInput:  # what a method keeps for a later training is no weight file
        return False


def _check_measured(measured: StoredReport, files: list[Path], method: str) -> None:
    """Refuses a report that was measured with other weights than those in ``files``."""
    heads = measured.heads_of(method)
    for file in filter(_is_head, files):
        if tensors_hash(load_checkpoint(file).head) in {head["head_tensors"] for head in heads}:
            return
    if not any(map(_is_head, files)):
        identities = {read_metadata(file).encoder_identity for file in files if _is_encoder(file)}
        if identities & {head["encoder_identity"] for head in heads}:
            return
    names = ", ".join(head["file"] or head["method"] for head in heads)
    raise BadInput(
        f"{measured.path} was measured with other weights ({names}): export first, with the same --weights and "
        "--half, measure those files, then export again with --metrics."
    )


def _is_encoder(file: Path) -> bool:
    try:
        return read_metadata(file).method == ENCODER_ONLY
    except BadInput:
        return False


def _moved(file: Path, target: Path) -> Path:
    with replacing(target) as temporary:
        file.replace(temporary)
    return target


def _told(files: list[Path], trained: Trained, recipe: Recipe) -> str:
    """Returns what was written, and where the node gets an encoder that is not among the files."""
    names = ", ".join(file.name for file in files)
    lines = [f"{files[0].parent}: {names} after {trained.steps} steps ({_TOLD[trained.weights]})"]
    for file in filter(_is_head, files):
        card = load_checkpoint(file)
        source, tag = (str(getattr(recipe.network, name, "")) for name in ("encoder", "pretrained"))
        if card.encoder:
            continue
        if source.endswith(".safetensors"):
            lines.append(f"The node also needs its encoder: add {source} to the parameter weights.")
        else:
            lines.append(
                f"The node also needs its encoder: set the parameters encoder.model to {source} and encoder.weights to "
                f"{tag or 'its weights'}, or export with --with-encoder."
            )
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``export``."""
    parser.add_argument("training", type=Path, help="folder of `fit` (its best.ckpt, else last.ckpt), or a .ckpt file")
    parser.add_argument("--recipe", help="the recipe it was trained with (default: recipe.yaml beside the checkpoint)")
    parser.add_argument(
        "--weights",
        choices=WEIGHTS,
        default="best",
        help="running average, raw weights, or whichever validation found better (default best)",
    )
    parser.add_argument(
        "--half",
        action="store_true",
        help="store 16-bit numbers, half the size; an encoder in a file of its own is left as it is",
    )
    parser.add_argument(
        "--metrics", type=Path, metavar="FILE", help="report of `evaluate` (.json) to record in the files"
    )
    parser.add_argument("--with-encoder", action="store_true", help="put the encoder into the head's file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the weight files")


def run(arguments: argparse.Namespace) -> int:
    """Runs ``export``."""
    checkpoint = find_checkpoint(arguments.training)
    recipe = find_recipe(arguments.recipe, checkpoint)
    trained = load_trained(checkpoint, recipe, arguments.weights)
    files = export(trained, recipe, arguments.output, arguments.metrics, arguments.half, arguments.with_encoder)
    print(_told(files, trained, recipe))
    return 0
