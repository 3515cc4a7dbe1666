"""What the messages cost beside the network: ``python -m benchmark.message_path``.

An image message read, raw depth turned into each message the node publishes, written over that of the frame before as
the node does it. Each step takes turns with a plain memory copy of as many bytes as it produces; ratios are to that
copy in the same round, with their spread over the rounds. Everything is measured twice: with caches as the run before
left them, and with cold ones, as between two frames a network has run. Publishing is not in it: ``clip-depth benchmark
node``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from clip_depth_ros.benchmark.turns import Spread, take_turns, write_report
from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.depth.colour import colourise
from clip_depth_ros.depth.masking import readings
from clip_depth_ros.ros.images import decode_image, depth_message, image_pixels
from clip_depth_ros.ros.point_cloud import CloudBuilder
from clip_depth_ros.sizes import parse_size

Step = tuple[Callable[[], object], int]
_RANGE = (0.001, 10.0)  # metres
_EDGE_THRESHOLD = 0.05
_COLD_BYTES = 1 << 28  # written between runs: more than any cache holds


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns smooth depth ``(H, W)`` float32 metres, a part of it out of range, and RGB ``(H, W, 3)`` uint8."""
    generator = np.random.default_rng(0)
    coarse = generator.uniform(0.5, 10.5, (12, 16)).astype(np.float32)
    depth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return depth, generator.integers(0, 256, (height, width, 3), np.uint8)


def steps_of(height: int, width: int) -> dict[str, Step]:
    """Returns every step by its name, with the bytes it produces."""
    raw, rgb = scene(height, width)
    header = Header(frame_id="camera")
    camera = CameraModel.pinhole(width, height, 0.8 * width, 0.8 * width, width / 2, height / 2)
    pixels = height * width
    inputs = {name: _input(header, rgb, name) for name in ("rgb8", "bgr8")}
    depth = readings(raw, _RANGE)
    metric, stored, coloured = Image(), Image(), Image()

    def mask() -> None:
        readings(raw, _RANGE, image_pixels(metric, header, raw.shape, "32FC1"))

    def colour() -> None:
        colourise(depth, *_RANGE, out=image_pixels(coloured, header, raw.shape, "rgb8"))

    def cloud(**choices: float | bool) -> Callable[[], object]:
        return partial(CloudBuilder(camera, **choices).build, header, depth, rgb, PointCloud2())  # type: ignore[arg-type]

    return {
        "read rgb8": (partial(decode_image, inputs["rgb8"]), 3 * pixels),
        "read bgr8": (partial(decode_image, inputs["bgr8"]), 3 * pixels),
        "depth 32FC1": (mask, 4 * pixels),
        "depth 16UC1": (partial(depth_message, header, depth, "16UC1", stored), 2 * pixels),
        "colour": (colour, 3 * pixels),
        "cloud": (cloud(), 16 * pixels),
        "cloud with the edge filter": (cloud(edge_threshold=_EDGE_THRESHOLD), 16 * pixels),
        "cloud, finite points only": (cloud(organised=False), 16 * int(np.isfinite(depth).sum())),
    }


def _input(header: Header, rgb: np.ndarray, encoding: str) -> Image:
    message = Image()
    image_pixels(message, header, rgb.shape[:2], "rgb8")[:] = rgb
    message.encoding = encoding
    return message


def copy_of(size: int) -> Callable[[], object]:
    """Returns a plain copy of ``size`` bytes between two arrays that are there already."""
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    return partial(np.copyto, target, source)


def compare(
    steps: dict[str, Step], rounds: int, repeats: int, before: Callable[[], object] | None = None
) -> dict[str, dict[str, list[float]]]:
    """Times every step and its copy in turns; returns the seconds of both and their ratio, for every round.

    ``before`` is done before each run, untimed.
    """
    ways = {name: step for name, (step, _) in steps.items()}
    copies = {f"copy of {size} B": copy_of(size) for size in sorted({size for _, size in steps.values()})}
    seconds = take_turns({**ways, **copies}, rounds, "cpu", repeats=repeats, warm_ups=3, digits=3, before=before)
    report = {}
    for name, (_, size) in steps.items():
        own, copied = seconds[name], seconds[f"copy of {size} B"]
        report[name] = {"seconds": own, "copy": copied, "ratio": [a / b for a, b in zip(own, copied)]}
    return report


def print_table(report: dict[str, dict[str, dict[str, list[float]]]]) -> None:
    """Prints what was measured with each kind of caches, a row a step."""
    print("\n| caches | step | median [ms] | copy [ms] | times the copy (lowest to highest) |\n" + "|---" * 5 + "|")
    for kind, steps in report.items():
        for name, of in steps.items():
            own, copied = (1000 * statistics.median(of[part]) for part in ("seconds", "copy"))
            print(f"| {kind} | {name} | {own:.3f} | {copied:.3f} | {Spread.of(of['ratio']).text(2)} |")


def main(words: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="480x640", help="HEIGHTxWIDTH, pixels (default 480x640)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds (default 10)")
    parser.add_argument("--repeats", type=int, default=9, help="runs a turn, whose median counts (default 9)")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark_results/message_path.json"), help="JSON")
    arguments = parser.parse_args(words)
    steps = steps_of(*parse_size(arguments.size, "--size"))
    evicted = np.zeros(_COLD_BYTES, np.uint8)
    kinds = {"warm": None, "cold": partial(evicted.fill, 1)}
    report = {kind: compare(steps, arguments.rounds, arguments.repeats, before) for kind, before in kinds.items()}
    print_table(report)
    write_report(arguments.output, arguments, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
