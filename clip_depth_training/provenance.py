"""Where trained weights come from, in words, for the card in their file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from clip_depth_ros.depth.checkpoint import read_metadata
from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.errors import BadInput
from clip_depth_training.data_sets import open_data_set
from clip_depth_training.data_sets.base import DepthDataSet
from clip_depth_training.data_sets.index import evenly
from clip_depth_training.data_sets.rooms import set_description
from clip_depth_training.methods.base import Method, Provenance, known_weights
from clip_depth_training.recipe import Recipe

_LOOKED_AT = 64  # samples whose cameras are looked at
_BEFORE_KNOWN_WEIGHTS = re.compile(r" (?=The (?:encoder|head) [0-9a-f]{12}: )")


def provenance_of(
    recipe: Recipe, method: Method, steps: int, weights: str, metrics: tuple[dict[str, Any], ...] = ()
) -> Provenance:
    """Returns where the weights of a training come from.

    Args:
        recipe: what was trained.
        method: the trained network.
        steps: optimiser steps that these weights have seen.
        weights: which weights they are: ``running average`` or ``raw weights``.
        metrics: rows for the card.

    Raises:
        BadInput: the training data are not where the recipe says, or are damaged.
    """
    folders = recipe.train if isinstance(recipe.train, (tuple, list)) else (recipe.train,)
    told, cameras = [], []
    for folder in map(Path, folders):
        try:
            data = open_data_set(folder)
            told.append(_data_text(data, folder))
            cameras.append(_camera_text(data, folder))
        except BadInput as error:
            raise BadInput(
                f"The training data {folder} of the recipe {recipe.name} cannot be described in the weights' card "
                f"({str(error).rstrip('.')}): give --recipe with train where the data are."
            ) from error
    return Provenance(
        recipe=recipe.name,
        trained_on=f"{' '.join(told)} {steps} steps of {recipe.batch_size} pictures, {_start_text(recipe, method)}; "
        f"{weights}.{_history(recipe, method)}",
        training_intrinsics="; ".join(dict.fromkeys(cameras)),
        metrics=metrics,
    )


def _data_text(data: DepthDataSet, folder: Path) -> str:
    about = data.description
    text = str(about["source"]).rstrip(".")
    if about["kind"] == "rooms":
        return f"{text} (seed {set_description(folder).get('seed', 'unknown')}); no real image."
    return f"{text}: {about['samples']} pictures of {about['name']}."


def _camera_text(data: DepthDataSet, folder: Path) -> str:
    """Returns the horizontal fields of view of the data: of the renderer's settings, or of samples all over the set."""
    if data.description["kind"] == "rooms":
        described = set_description(folder)
        low, high = described.get("field_of_view", ("unknown", "unknown"))
        return (
            f"horizontal field of view {low:g} to {high:g} degrees, lens and sensor {described.get('sensor', 'none')}"
        )
    looked_at = [data.sample(number) for number in evenly(len(data), _LOOKED_AT)]
    known = [(sample.intrinsics, sample.image.shape) for sample in looked_at if sample.intrinsics is not None]
    if not known:
        return "unknown cameras"
    views = [np.degrees(2 * np.arctan(shape[1] / 2 / matrix[0, 0])) for matrix, shape in known]
    focal = [np.sqrt(matrix[0, 0] * matrix[1, 1]) for matrix, _ in known]
    sizes = sorted({f"{shape[1]}x{shape[0]}" for _, shape in known})
    text = (
        f"focal length {_span(focal)} px at {', '.join(sizes)}, horizontal field of view {_span(views)} degrees"
        f" (of {len(known)} samples)"
    )
    if getattr(getattr(data, "index", None), "intrinsics_distorted", False):
        text += ", not rectified"
    return text if len(known) == len(looked_at) else f"{text}; others unknown"


def _span(values: list[float]) -> str:
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"


def _start_text(recipe: Recipe, method: Method) -> str:
    """Returns what the training started from, and what stayed frozen."""
    text = f"going on from {method.started_from}" if method.started_from else "from random weights"
    encoder = _frozen_encoder(method)
    if encoder is None:
        return text
    text = f"{text} on the frozen encoder {encoder.config.name} ({encoder.identity()[:12]}"
    if _encoder_file(recipe) is not None:
        return f"{text})"
    return f"{text}, weights {getattr(recipe.network, 'pretrained', '') or 'random'} of open_clip)"


def _history(recipe: Recipe, method: Method) -> str:
    """Returns what the weights behind this training were trained on, each once: sentences after a space, or nothing."""
    known = [method.history] if method.history else []
    encoder, file = _frozen_encoder(method), _encoder_file(recipe)
    if encoder is not None and file is not None:
        known.append(known_weights(f"encoder {encoder.identity()[:12]}", read_metadata(file).trained_on))
    told: dict[str, str] = {}
    for sentence in (part for text in known for part in _BEFORE_KNOWN_WEIGHTS.split(text)):
        told.setdefault(sentence.partition(":")[0], sentence)
    return "".join(f" {text}" for text in told.values())


def _frozen_encoder(method: Method) -> SharedEncoder | None:
    encoder = getattr(method, "encoder", None)
    return None if method.trained is method else encoder


def _encoder_file(recipe: Recipe) -> Path | None:
    source = str(getattr(recipe.network, "encoder", ""))
    return Path(source) if source.endswith(".safetensors") else None
