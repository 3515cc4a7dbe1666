"""How fast a recording is read, against how fast the estimator takes its pictures, and with how much memory.

    python -m benchmark.replay_reading [--bag BAG] [--frames 500] [--size 480x640]

Without ``--bag`` a recording of random pictures with depth is made first (mcap, zstd by chunk). Reading includes the
pictures, the depth of each and the pairing of the two, as ``clip-depth replay`` does it. Each part runs by itself in
this process, in turns; the figures are pictures a second and the ratio of the two.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from clip_depth_ros.depth.estimator import DepthEstimator
from clip_depth_ros.memory import MEBIBYTE, status_bytes
from clip_depth_ros.replay.frames import FrameSource, batches
from clip_depth_ros.replay.ground_truth.options import TruthOptions
from clip_depth_ros.replay.ground_truth.plan import make_plan
from clip_depth_ros.replay.make_bag import make_bag
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.sizes import parse_size

_CONFIG = "package://clip_depth_ros/config/demo.yaml"
_BATCH = 4


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bag", type=Path, help="a recording; default: one made for this")
    parser.add_argument("--frames", type=int, default=500, help="pictures of the one that is made (default 500)")
    parser.add_argument("--size", default="480x640", help="their size, HEIGHTxWIDTH pixels (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each part (default %(default)s)")
    parser.add_argument("--config", default=_CONFIG, help="ROS parameter file (default: the demo model)")
    arguments = parser.parse_args(words)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        bag = arguments.bag or _made(folder, arguments.frames, parse_size(arguments.size, "--size"))
        reader = stack.enter_context(BagReader(bag))
        source = FrameSource(reader, make_plan(reader, TruthOptions(), "wanted"))
        estimator = DepthEstimator.from_config(arguments.config)
        rates: dict[str, list[float]] = {"reader": [], "estimator": []}
        for _ in range(arguments.rounds):
            rates["reader"].append(_reading(source))
            rates["estimator"].append(_estimating(source, estimator))
    for name, values in rates.items():
        print(f"{name}: {statistics.median(values):.1f} pictures/s ({min(values):.1f} to {max(values):.1f})")
    ratios = [read / run for read, run in zip(rates["reader"], rates["estimator"])]
    print(f"ratio: {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
    print(f"peak memory of this process: {status_bytes('VmHWM') / MEBIBYTE:.0f} MiB")
    return 0


def _made(folder: Path, frames: int, size: tuple[int, int]) -> Path:
    """Writes smooth random pictures with depth as an RGB-D folder, and makes it a bag."""
    rng = np.random.default_rng(0)
    height, width = size
    for name in ("rgb", "depth"):
        (folder / "scene" / name).mkdir(parents=True)
    for index in range(frames):
        coarse = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        picture = cv2.add(picture, rng.integers(0, 6, picture.shape, dtype=np.uint8))
        depth = cv2.resize(rng.uniform(800, 6000, (6, 8)), (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "scene" / "rgb" / f"{index:05d}.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 0])
        cv2.imwrite(str(folder / "scene" / "depth" / f"{index:05d}.png"), depth.astype(np.uint16))
    camera = f'{{"fx": {width}, "fy": {width}, "cx": {width / 2}, "cy": {height / 2}}}'
    (folder / "scene" / "intrinsics.json").write_text(camera, encoding="utf-8")
    return make_bag(folder / "scene", folder / "bag").path


def _reading(source: FrameSource) -> float:
    start = time.perf_counter()
    count = sum(1 for _ in source.frames())
    return count / (time.perf_counter() - start)


def _estimating(source: FrameSource, estimator: DepthEstimator) -> float:
    """Returns pictures a second of the estimator alone, on as many as fit a moment."""
    taken, seconds = 0, 0.0
    for batch in batches(source.frames(), _BATCH):
        start = time.perf_counter()
        estimator.run([frame.rgb for frame in batch], [frame.camera for frame in batch], to_host=True)
        if taken:  # the first batch is slower than all others
            seconds += time.perf_counter() - start
        taken += len(batch)
        if seconds > 10:
            break
    return (taken - _BATCH) / seconds


if __name__ == "__main__":
    sys.exit(main())
