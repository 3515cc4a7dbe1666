"""``clip-depth-train evaluate``: the error of weights, run as the node runs them, beside the trivial predictions."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from clip_depth_ros.depth.checkpoint import ENCODER_ONLY, read_metadata
from clip_depth_ros.depth.config import PRECISIONS, EstimatorConfig
from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.depth.metrics import depth_metrics
from clip_depth_ros.depth.pictures import side_by_side, stacked
from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_ros.resources import resolve
from clip_depth_training.data_sets import open_data_set
from clip_depth_training.data_sets.base import DepthDataSet
from clip_depth_training.data_sets.index import evenly
from clip_depth_training.evaluation.baselines import Baseline, baseline_of
from clip_depth_training.evaluation.measurement import Measurement, ground_truth, measure, predict
from clip_depth_training.evaluation.protocols import (
    CROP_OPTIONS,
    SMALLEST_DEPTH,
    Protocol,
    choose_crop,
    choose_range,
    parse_size,
)
from clip_depth_training.evaluation.report import Report, Weights

_CUTS = {None: "", "kb": "KITTI benchmark crop of 352x1216"}
_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class Job:
    """One data set and how to measure on it."""

    folder: Path
    name: str
    data: DepthDataSet
    protocol: Protocol


def find_head(weights: Sequence[Path], wanted: str | None) -> tuple[str, Path]:
    """Returns the method and the file of the head to measure.

    Raises:
        BadInput: a file is no weight file, or there is no such head, or more than one.
    """
    found = [(metadata.method, file) for file in weights if (metadata := read_metadata(file)).method != ENCODER_ONLY]
    chosen = [entry for entry in found if wanted in (None, entry[0])]
    if len(chosen) != 1:
        names = ", ".join(name for name, _ in found) or "none"
        remedy = "choose one with --head" if len({name for name, _ in chosen}) > 1 else "give the file of one head"
        raise BadInput(f"The weight files hold these heads: {names}; {remedy}.")
    return chosen[0]


def plan(arguments: argparse.Namespace, valid_range: tuple[float, float]) -> list[Job]:
    """Opens the data sets and settles each one's protocol before anything is measured.

    Raises:
        BadInput: a folder is no data set, holds nothing or is given twice, or an option does not fit it.
    """
    size = None if arguments.eval_size is None else parse_size(arguments.eval_size)
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
        depth_range = choose_range(given, valid_range, (near, far), name)
        cut = _CUTS[getattr(getattr(data, "index", None), "crop", None)]
        jobs.append(Job(folder, name, data, Protocol(depth_range, crop, arguments.flip, size, cut)))
    return jobs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``evaluate``."""
    parser.add_argument("weights", nargs="+", help="weight files (.safetensors): head and encoder, together or apart")
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
        help=f"metres, MIN at least {SMALLEST_DEPTH} (default: what head and data set have in common)",
    )
    parser.add_argument(
        "--eval-size",
        metavar="HxW",
        help="compare at this size in pixels (SPACE-CLIP on KITTI: 352x704; default: the picture's)",
    )
    parser.add_argument("--head", help="head to measure, where the files hold several")
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
        help="also write N pictures of each data set with truth, prediction and error (needs -o)",
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
    files = [resolve(location) for location in arguments.weights]
    head, file = find_head(files, arguments.head)
    settings = EstimatorConfig(
        heads=(head,),
        weights=tuple(map(str, files)),
        encoder_weights=arguments.encoder_weights,
        device=arguments.device,
        precision=arguments.precision,
    )
    estimator = DepthEstimator.from_settings(settings)
    valid_range = estimator(np.zeros((8, 8, 3), np.uint8), tokens=False)[head].valid_range
    jobs = plan(arguments, valid_range)
    training = None if arguments.baseline is None else open_data_set(arguments.baseline)
    measured: dict[str, Measurement] = {}
    known: dict[tuple[DepthDataSet, tuple[float, float]], Baseline] = {}
    for job in jobs:
        source, depth_range = job.data if training is None else training, job.protocol.depth_range
        if (source, depth_range) not in known:
            known[source, depth_range] = baseline_of(source, depth_range, own=training is None)
        measured[job.name] = measure(estimator, head, job.data, known[source, depth_range], job.protocol)
    weights = Weights.of(file, str(estimator.device), _PRECISIONS[estimator.encoder.dtype])
    report = Report(weights, measured, arguments.published)
    print(report.markdown())
    if arguments.output is not None:
        report.write(arguments.output)
        for job in jobs if arguments.pictures else ():
            write_pictures(estimator, head, job, arguments.pictures, arguments.output)
    return 0


def write_pictures(estimator: DepthEstimator, head: str, job: Job, count: int, report: Path) -> Path:
    """Writes samples spread evenly over a data set: picture, prediction, ground truth and relative error.

    Returns:
        The PNG beside the report, named after the data set.
    """
    rows = []
    for number in evenly(len(job.data), count):
        sample = job.data.sample(number)
        truth = ground_truth([sample], job.protocol.size)
        depth = predict(estimator, head, [sample], job.protocol)
        mask = job.protocol.mask(truth)
        image = cv2.resize(sample.image, truth.shape[:0:-1], interpolation=cv2.INTER_AREA)
        errors = depth_metrics(depth, truth, mask, job.protocol.depth_range)["abs_rel"]
        said = f"{number}, AbsRel {float(errors[0]):.3f}" if len(errors) else f"{number}, no ground truth"
        shown = np.where(mask[0].numpy(), truth[0].numpy(), np.float32("nan"))
        rows.append(side_by_side(image, depth[0].numpy(), shown, said))
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    path = report.with_name(f"{report.stem}_{re.sub(r'[^A-Za-z0-9.-]+', '_', job.name)}.png")
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", stacked(rows)[..., ::-1])[1].tobytes())
    return path
