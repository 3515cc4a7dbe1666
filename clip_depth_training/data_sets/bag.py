"""``clip-depth-train prepare bag``: any recording with pictures and a depth camera or a LiDAR becomes a data set."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import require_space
from clip_depth_training.data_sets.bags.options import GAP_S, VALIDATION_SUFFIX, Options, add_arguments

if TYPE_CHECKING:
    from clip_depth_ros.replay.ground_truth.plan import Plan, Planned
    from clip_depth_training.data_sets.index import PreparedSet

__all__ = ["add_arguments", "prepare"]

_MILLIMETRES, _FAR_UNITS, _FARTHEST_MILLIMETRES_M = 1000.0, 256.0, 65.0  # 16 bits hold 65.535 m, or 255.99 m
_BYTES_PER_PIXEL = 5  # a PNG of noise is as large as its 3 bytes of colour and 2 of depth


def prepare(arguments: argparse.Namespace) -> PreparedSet:
    """Extracts the pictures of a recording; with ``--hold-out``, the validation set is finished too.

    Raises:
        BadInput: the recording lacks something, or an option does not fit it; the sentence says what.
    """
    try:
        from clip_depth_ros.replay.ground_truth.plan import make_plan
        from clip_depth_ros.replay.reader import BagReader
        from clip_depth_training.data_sets.bags.extraction import extract
    except ModuleNotFoundError as error:
        raise BadInput(
            f"Recordings cannot be read without {error.name}: pip install 'clip_depth_ros[replay,train]'."
        ) from error

    options = Options.of(arguments)
    with BagReader(arguments.source) as reader:
        plan = make_plan(reader, options)
        targets = _targets(arguments, options, plan)
        pixels = sum(map(len, targets.values())) * plan.size[0] * plan.size[1]
        require_space(arguments.output, pixels * _BYTES_PER_PIXEL)
        prepared, *held_out = targets
        with ExitStack() as stack:
            for target in targets:
                stack.enter_context(target.extracting())
            extract(reader, plan, targets, options.jpeg)
            for target in targets:
                target.index.notes += reader.warnings
            for validation in held_out:
                summary = validation.finish(arguments.workers)
                prepared.index.notes.append(f"{summary.samples} samples are held out in {validation.folder}.")
    return prepared


def _targets(arguments: argparse.Namespace, options: Options, plan: Plan) -> dict[PreparedSet, list[Planned]]:
    """Returns the sets to write, training first, with their samples."""
    import numpy as np

    from clip_depth_ros.replay.ground_truth.pairing import held_out
    from clip_depth_training.data_sets.index import evenly

    parts: list[tuple[Path, str, list[Planned], float]] = []
    if options.hold_out:
        times = np.array([sample.image_ns for sample in plan.samples])
        before, after = held_out(times, options.hold_out, GAP_S)
        if not before.any():
            raise BadInput(
                f"{arguments.source} is too short for --hold-out {options.hold_out:g}: nothing is left to train on "
                f"{GAP_S:g} s before the part that is held out."
            )
        plan.notes.append(f"{int((~before & ~after).sum())} samples just before the held-out part were left out.")
        validation = arguments.output.with_name(arguments.output.name + VALIDATION_SUFFIX)
        for folder, split, kept, part in (
            (arguments.output, arguments.split or "train", before, 1 - options.hold_out),
            (validation, "validation", after, options.hold_out),
        ):
            parts.append((folder, split, [plan.samples[number] for number in np.flatnonzero(kept)], part))
    else:
        parts.append((arguments.output, arguments.split, plan.samples, 1.0))
    targets = {}
    for folder, split, samples, part in parts:
        limit = None if arguments.limit is None else max(1, round(arguments.limit * part))
        chosen = [samples[number] for number in evenly(len(samples), limit)]
        prepared = _prepared(arguments, options, plan, folder, split)
        prepared.index.limited_from = len(samples) if len(chosen) < len(samples) else 0
        targets[prepared] = chosen
    return targets


def _prepared(arguments: argparse.Namespace, options: Options, plan: Plan, folder: Path, split: str) -> PreparedSet:
    from clip_depth_training.data_sets.index import Index, PreparedSet

    topics = plan.topics
    near, far = options.depth_range or topics.usual_range_m
    sensor = "LiDAR" if topics.lidar else "depth camera"
    index = Index(
        kind="bag",
        name=arguments.name or arguments.source.stem,
        split=split,
        root=".",
        depth_units_per_metre=_FAR_UNITS if far > _FARTHEST_MILLIMETRES_M else _MILLIMETRES,
        depth_range_m=(near, far),
        source=f"The recording {arguments.source.name}: pictures {topics.image}, {sensor} {topics.truth}.",
        notes=list(plan.notes),
    )
    return PreparedSet(folder, index, skip_bad=arguments.skip_bad)
