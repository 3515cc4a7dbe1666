"""What a live run leaves behind: result bag, pictures, a cloud, and the summary."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from clip_depth_ros import __version__
from clip_depth_ros.depth.pictures import side_by_side, stacked
from clip_depth_ros.depth.ply import write_ply
from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing
from clip_depth_ros.replay.accuracy import DepthAccuracy, compare, matched
from clip_depth_ros.replay.cloud import cloud_arrays
from clip_depth_ros.replay.depth_image import depth_metres
from clip_depth_ros.replay.live import DEPTH, POINTS, Inputs
from clip_depth_ros.replay.measure import StreamMeasurement
from clip_depth_ros.replay.messages import BagMessage, header_stamp_ns
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.receiver import Spool
from clip_depth_ros.replay.summary import Summary
from clip_depth_ros.replay.topics import candidates
from clip_depth_ros.replay.writer import BagWriter
from clip_depth_ros.ros.images import decode_compressed, decode_image

ACCURACY_RANGE = (0.1, 10.0)  # metres of ground truth that count
_PICTURES = 6
_OVERVIEW = 3


@dataclass(frozen=True)
class Run:
    """A finished live run.

    Attributes:
        recording: what was played.
        inputs: its topics that were played.
        stream: what was measured.
        counts: messages received, by result topic.
        diagnostics: the node's own status, by name.
        camera_remark: what the node found wrong with the camera, or empty.
        start_up_s: seconds from the node's start until it answered.
        rate: pace relative to the recording's, 0 = as fast as publishing goes.
    """

    recording: BagReader
    inputs: Inputs
    stream: StreamMeasurement
    counts: Mapping[str, int]
    diagnostics: Mapping[str, str]
    camera_remark: str
    start_up_s: float
    rate: float


def write_report(folder: Path, run: Run, results: Spool, truth_topic: str = "") -> Summary:
    """Writes ``result_bag/``, ``pictures/``, ``overview.png``, ``cloud.ply``, ``summary.md`` and ``summary.json``.

    Args:
        folder: where to; what an earlier run left there under these names is replaced.
        run: what was played and measured.
        results: the messages received; the result bag takes their bytes as they are.
        truth_topic: ground-truth depth topic; empty looks for one.

    Raises:
        BadInput: something cannot be written, or the recording has several depth topics and none was named.
    """
    with BagWriter(folder / "result_bag", overwrite=True) as writer:
        for message in results.messages():
            writer.write(message.topic, message.type, message.time_ns, message.data)
    truth = ""
    if truth_topic or candidates(run.recording, "depth"):
        truth = run.recording.require_topic(
            "depth", truth_topic, near=run.inputs.image.rpartition("/")[0] + "/depth/image"
        ).name
    with BagReader(folder / "result_bag") as answers:
        accuracy = compare(answers, DEPTH, run.recording, truth, ACCURACY_RANGE) if truth else None
        size = _write_pictures(folder, run, answers, truth)
        _write_cloud(folder / "cloud.ply", answers)
    summary = _summary(run, accuracy, truth, size)
    for name, text in (("summary.md", summary.as_markdown()), ("summary.json", summary.as_json())):
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return summary


def _summary(run: Run, accuracy: DepthAccuracy | None, truth: str, size: tuple[int, int]) -> Summary:
    names = ("device", "precision", "encoder", "heads", "device memory peak [MiB]", "host memory [MiB]")
    setting = {name: run.diagnostics[name] for name in names if name in run.diagnostics}
    setting["replay"] = f"{run.rate:g} x the recorded pace" if run.rate else "as fast as publishing goes"
    setting["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    setting["versions"] = ", ".join(
        [f"clip_depth_ros {__version__}", *(f"{name} {_version(name)}" for name in ("rclpy", "torch"))]
    )
    warnings = list(run.recording.warnings)
    if run.counts.get(POINTS) == 0 and run.camera_remark:
        warnings.append(run.camera_remark)
    return Summary(
        bag=run.recording.path.name,
        image_size=size,
        setting=setting,
        stream=run.stream,
        counts=run.counts,
        start_up_s=run.start_up_s,
        accuracy=accuracy,
        truth_topic=truth,
        warnings=tuple(warnings),
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of the system"


def _write_pictures(folder: Path, run: Run, answers: BagReader, truth: str) -> tuple[int, int]:
    """Draws a few images spread over the recording; returns the images' size (columns, rows)."""
    target = folder / "pictures"
    for old in target.glob("frame_*.png"):
        old.unlink()
    count = answers.topics[DEPTH].count
    chosen = set(np.linspace(0, count - 1, min(_PICTURES, count)).round().astype(int).tolist())
    truths = _chosen_truths(run.recording, truth, answers, chosen) if truth else {}
    first = header_stamp_ns(next(iter(run.recording.messages([run.inputs.image]))).data)
    drawn = []
    size = (0, 0)
    pairs = matched(run.recording.messages([run.inputs.image]), answers.messages([DEPTH]))
    for index, (image, depth) in enumerate(pairs):
        if index not in chosen:
            continue
        rgb = _picture(image)
        size = (rgb.shape[1], rgb.shape[0])
        predicted = depth_metres(answers.decode(depth))
        reference = truths.get(header_stamp_ns(image.data))
        reference = reference if reference is not None and reference.shape == predicted.shape else None
        seconds = (header_stamp_ns(image.data) - first) / 1e9
        drawn.append(side_by_side(rgb, predicted, reference, f"at {seconds:.1f} s"))
        _write_png(target / f"frame_{index:04d}.png", drawn[-1])
    _write_png(folder / "overview.png", stacked(drawn[:: max(1, len(drawn) // _OVERVIEW)][:_OVERVIEW]))
    return size


def _chosen_truths(recording: BagReader, topic: str, answers: BagReader, chosen: set[int]) -> dict[int, np.ndarray]:
    """Returns the ground truth of the chosen answers by stamp."""
    stamps = {header_stamp_ns(one.data) for index, one in enumerate(answers.messages([DEPTH])) if index in chosen}
    found = (one for one in recording.messages([topic]) if header_stamp_ns(one.data) in stamps)
    return {header_stamp_ns(one.data): depth_metres(recording.decode(one)) for one in found}


def _picture(message: BagMessage) -> np.ndarray:
    if message.type.endswith("CompressedImage"):
        return decode_compressed(deserialize_message(message.data, CompressedImage))
    return decode_image(deserialize_message(message.data, Image))


def _write_png(path: Path, rgb: np.ndarray) -> None:
    with replacing(path) as temporary:
        if not cv2.imwrite(str(temporary), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
            raise BadInput(f"{path} cannot be written: free some space, or choose another folder.")


def _write_cloud(path: Path, answers: BagReader) -> None:
    """Writes the cloud from the middle of the run, if clouds came."""
    topic = answers.topics.get(POINTS)
    if topic is None:
        path.unlink(missing_ok=True)
        return
    middle: Any = None
    for index, message in enumerate(answers.messages([POINTS])):
        if index == topic.count // 2:
            middle = answers.decode(message)
            break
    write_ply(path, *cloud_arrays(middle))
