"""``clip-depth-train export``: from a training checkpoint to the weight files the node loads."""

from __future__ import annotations

import argparse
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from clip_depth_ros.depth.checkpoint import ENCODER_ONLY, CheckpointMetadata, save_checkpoint
from clip_depth_ros.depth.towers import ClipTower
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets.rooms import set_description
from clip_depth_training.network import DepthNetwork
from clip_depth_training.recipe import Recipe

LICENCE = "Apache-2.0"
_PREFIXES = {"average": "average.module.", "raw": "network."}


def load_network(checkpoint: Path, recipe: Recipe, weights: str = "average") -> tuple[DepthNetwork, int]:
    """Returns the frozen network of a training checkpoint, and the steps it was trained for.

    Raises:
        BadInput: the file is missing, damaged, or of another recipe.
    """
    if not zipfile.is_zipfile(checkpoint):
        raise BadInput(
            f"{checkpoint} is not a checkpoint of `clip-depth-train fit`, or it is missing: give a .ckpt file."
        )
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state, steps = content["state_dict"], int(content["global_step"])
    except (OSError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise BadInput(
            f"{checkpoint} is not a checkpoint of `clip-depth-train fit` ({type(error).__name__})."
        ) from error
    prefix = _PREFIXES[weights]
    network = DepthNetwork(recipe.network, recipe.name)
    try:
        network.load_state_dict(
            {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
        )
    except RuntimeError as error:
        raise BadInput(
            f"{checkpoint} does not fit the recipe {recipe.name}: give the recipe it was trained with."
        ) from error
    network.requires_grad_(False).eval()
    # Nothing trained the projection to the joint space, so it is left out rather than shipped as noise.
    tower = network.encoder.tower
    assert isinstance(tower, ClipTower)
    tower.has_projection = False
    return network, steps


def export(
    network: DepthNetwork, recipe: Recipe, steps: int, output: Path, metrics: tuple[dict[str, Any], ...] = ()
) -> None:
    """Writes ``encoder.safetensors`` and ``space_clip.safetensors`` with full provenance into ``output``."""
    data = set_description(recipe.train)
    low, high = data["field_of_view"]
    metadata = CheckpointMetadata(
        method=ENCODER_ONLY,
        encoder=network.encoder.config,
        encoder_identity=network.encoder.identity(),
        trained_on=(
            f"{data['rooms']} simulated rooms (clip-depth-train render, seed {data['seed']}), {data['views']} views "
            f"each; no real image. {steps} steps of {recipe.batch_size}, encoder and head together from random "
            "weights, dense depth loss only; not aligned with language."
        ),
        training_intrinsics=(
            f"pinhole, horizontal field of view {low:g} to {high:g} degrees, several aspect ratios, squeezed to "
            f"{recipe.network.image_size} pixels square"
        ),
        canonical_focal_px=recipe.network.canonical_focal_px,
        metrics=metrics,
        licence=LICENCE,
        source=f"clip_depth_training recipe {recipe.name}",
    )
    save_checkpoint(output / "encoder.safetensors", metadata, encoder=network.encoder)
    save_checkpoint(output / "space_clip.safetensors", metadata, head=network.head)


def read_metrics(file: Path) -> tuple[dict[str, Any], ...]:
    """Returns the head's rows of a report of ``clip-depth-train evaluate``, each with its data and protocol.

    Raises:
        BadInput: the file is no such report.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        return tuple(
            {"data": data["name"], "images": data["images"], "depth_range_m": report["depth_range_m"], **row,
             "protocol": f"{row['protocol']}; {report['protocol']}"}
            for data in report["data"]
            for row in data["rows"]
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{file} is not a report of `clip-depth-train evaluate` ({type(error).__name__}).") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``export``."""
    parser.add_argument("checkpoint", type=Path, help="checkpoint of `fit` (last.ckpt)")
    parser.add_argument("--recipe", required=True, help="the recipe it was trained with")
    parser.add_argument(
        "--weights",
        choices=tuple(_PREFIXES),
        default="average",
        help="running average or raw weights (default average)",
    )
    parser.add_argument(
        "--half", action="store_true", help="store 16-bit numbers: half the size, depth within 0.1 percent"
    )
    parser.add_argument("--metrics", type=Path, help="report of `evaluate` (.json) to record in the files")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for encoder.safetensors and space_clip.safetensors"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs ``export``."""
    recipe = Recipe.load(arguments.recipe)
    network, steps = load_network(arguments.checkpoint, recipe, arguments.weights)
    if arguments.half:
        network.half()  # the identity is taken over these rounded numbers, which the node computes with
    export(network, recipe, steps, arguments.output, read_metrics(arguments.metrics) if arguments.metrics else ())
    print(f"{arguments.output}: encoder.safetensors and space_clip.safetensors after {steps} steps")
    return 0
