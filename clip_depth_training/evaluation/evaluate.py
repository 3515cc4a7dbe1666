"""``clip-depth-train evaluate``: the error of heads, run as the node runs them, beside the trivial predictions."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_depth_ros.depth.config import PRECISIONS, EstimatorConfig
from clip_depth_ros.depth.encoder_config import NORMALISATIONS
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.errors import BadInput
from clip_depth_ros.resources import resolve
from clip_depth_ros.sizes import parse_size
from clip_depth_training.data_sets import open_data_set
from clip_depth_training.data_sets.base import DepthDataSet
from clip_depth_training.evaluation.baselines import Baseline, baseline_of
from clip_depth_training.evaluation.measurement import Measurement, measure
from clip_depth_training.evaluation.protocols import (
    CROP_OPTIONS,
    SMALLEST_DEPTH,
    Protocol,
    choose_crop,
    choose_range,
)
from clip_depth_training.evaluation.report import Report
from clip_depth_training.evaluation.sheets import write_sheet
from clip_depth_training.evaluation.weights import Weights, find_heads


@dataclass(frozen=True)
class Job:
    """One data set and how to measure on it."""

    folder: Path
    name: str
    data: DepthDataSet
    protocol: Protocol


def plan(arguments: argparse.Namespace, valid_ranges: Mapping[str, tuple[float, float]]) -> list[Job]:
    """Opens the data sets and settles each one's protocol before anything is measured.

    Args:
        arguments: the options of the command.
        valid_ranges: (nearest, farthest) metres of each head, by its name.

    Raises:
        BadInput: a folder is no data set, holds nothing or is given twice, or an option does not fit it.
    """
    size = None if arguments.eval_size is None else parse_size(arguments.eval_size, "--eval-size")
    jobs: list[Job] = []
    names: set[str] = set()
    for folder in arguments.data:
        data = open_data_set(folder)
        if not len(data):
            raise BadInput(f"The data set {folder} holds no picture: make it again with `clip-depth-train prepare`.")
        about = data.description
        name = str(about["name"])
        name = f"{folder.resolve().parent.name}/{name}" if name in names else name
        if name in names:
            raise BadInput(f"{folder} is given twice, or two data sets are named {name}: give each once.")
        names.add(name)
        shape = data.sample(0).depth.shape
        crop = choose_crop(arguments.crop, about["kind"], name, size or (shape[0], shape[1]))
        given = None if arguments.range is None else (arguments.range[0], arguments.range[1])
        near, far = about["depth_range_m"]
        depth_range = choose_range(given, valid_ranges, (near, far), name)
        cut = getattr(getattr(data, "index", None), "crop", None)
        protocol = Protocol(depth_range, crop, arguments.flip, size, cut, _encoder_input(arguments))
        jobs.append(Job(folder, name, data, protocol))
    return jobs


def _encoder_input(arguments: argparse.Namespace) -> str:
    told = f"normalised as {arguments.normalisation}" if arguments.normalisation else ""
    return " ".join(filter(None, (arguments.input_size, told)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``evaluate``."""
    parser.add_argument(
        "weights", nargs="*", help="weight files (.safetensors): heads and their encoder, together or apart"
    )
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        required=True,
        metavar="FOLDER",
        help="data set: prepared, rendered rooms or an RGB-D folder; may be repeated",
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="FOLDER",
        help="training data that the trivial predictions are from (default: the measured data)",
    )
    parser.add_argument(
        "--crop",
        choices=CROP_OPTIONS,
        default="none",
        help="pixels that count; eigen is NYU's or KITTI's by the data set (default none)",
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored picture's depth")
    parser.add_argument(
        "--range",
        type=float,
        nargs=2,
        metavar=("MIN", "MAX"),
        help=f"metres, MIN at least {SMALLEST_DEPTH} (default: what heads and data set have in common)",
    )
    parser.add_argument(
        "--eval-size",
        metavar="HxW",
        help="compare at this size in pixels (SPACE-CLIP on KITTI: 352x704; default: the picture's)",
    )
    parser.add_argument(
        "--input-size",
        default="",
        metavar="HxW",
        help="pixels that pictures are resized to for the encoder (DepthCLIP: 416x544; default: the encoder's own)",
    )
    parser.add_argument(
        "--normalisation",
        default="",
        choices=tuple(NORMALISATIONS),
        help="mean and deviation of the public code of DepthCLIP and DepthBLIP-2 (default: the encoder's own)",
    )
    parser.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="NAME",
        help="head to measure; may be repeated (default: all that the files hold). With --encoder-weights depth_clip "
        "needs no file",
    )
    parser.add_argument(
        "--encoder-model", default="", metavar="NAME", help="open_clip's name of the encoder (default: the heads' own)"
    )
    parser.add_argument(
        "--encoder-weights",
        default="",
        metavar="TAG|FILE",
        help="open_clip tag or .safetensors, where no weight file holds the encoder",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default fp32")
    parser.add_argument("--published", action="store_true", help="list all published figures, whatever was measured")
    parser.add_argument(
        "--pictures",
        type=int,
        default=0,
        metavar="N",
        help="also write N pictures of each data set with truth and predictions, and the error of one head (needs -o)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="also write the report to this .json, and .md beside it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs ``evaluate``."""
    if arguments.output is not None and arguments.output.suffix != ".json":
        raise BadInput(f"The report {arguments.output} must end in .json; the table goes to .md beside it.")
    if arguments.pictures < 0 or (arguments.pictures and arguments.output is None):
        raise BadInput("--pictures needs a number above 0, and -o to know where the pictures go.")
    if arguments.encoder_model and not arguments.encoder_weights:
        raise BadInput(f"--encoder-model {arguments.encoder_model} needs --encoder-weights, its open_clip tag or file.")
    files = [resolve(location) for location in arguments.weights]
    heads = find_heads(files, arguments.head, arguments.encoder_model, arguments.encoder_weights)
    settings = EstimatorConfig(
        heads=tuple(heads),
        weights=tuple(map(str, files)),
        encoder_model=arguments.encoder_model,
        encoder_weights=arguments.encoder_weights,
        device=arguments.device,
        precision=arguments.precision,
        encoder_input_size=parse_size(arguments.input_size, "--input-size") if arguments.input_size else (0, 0),
        encoder_normalisation=arguments.normalisation,
    )
    estimator = DepthEstimator.from_settings(settings)
    tried = estimator(np.zeros((8, 8, 3), np.uint8), tokens=False)
    valid_ranges = {head: prediction.valid_range for head, prediction in tried.items()}
    jobs = plan(arguments, valid_ranges)
    training = None if arguments.baseline is None else open_data_set(arguments.baseline)
    measured: dict[str, Measurement] = {}
    known: dict[tuple[DepthDataSet, tuple[float, float]], Baseline] = {}
    for job in jobs:
        source, depth_range = job.data if training is None else training, job.protocol.depth_range
        if (source, depth_range) not in known:
            known[source, depth_range] = baseline_of(source, depth_range, own=training is None)
        measured[job.name] = measure(estimator, job.data, known[source, depth_range], job.protocol)
    weights = [
        Weights.zero_shot(arguments.encoder_weights, valid_ranges[head], estimator)
        if file is None
        else Weights.of(file, valid_ranges[head], estimator)
        for head, file in heads.items()
    ]
    report = Report(weights, measured, arguments.published)
    print(report.markdown())
    if arguments.output is not None:
        report.write(arguments.output)
        for job in jobs if arguments.pictures else ():
            name = f"{arguments.output.stem}_{re.sub(r'[^A-Za-z0-9.-]+', '_', job.name)}.png"
            write_sheet(estimator, job.data, job.protocol, arguments.pictures, arguments.output.with_name(name))
    return 0
