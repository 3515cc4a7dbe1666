"""How fast ``fit`` trains, against a plain loop: ``python -m benchmark.training_speed``.

Both train SPACE-CLIP's head on a frozen ViT-B/16 with random weights, from 480x640 PNG pictures on disk, with two
loading processes. ``fit`` is the command's own code: data set, augmentation, loss, optimiser, running average. The
plain loop is what one writes first: 32 bits, every image prepared by itself, all 13 hidden states kept, an 11 x 11
window and a loop over the samples in SSIM. They are processes of their own that take turns, one of them stopped
altogether while the other works. Each round prints a row; the JSON holds all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from clip_depth_ros.files import replacing
from clip_depth_ros.hardware import hardware

SIZE = (480, 640)
VARIANTS = ("fit", "plain")


def main() -> int:
    """Runs the benchmark; returns 0, or 1 when a variant broke off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=8, help="pictures a step (default 8)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each variant (default 5)")
    parser.add_argument("--steps", type=int, default=4, help="steps a turn (default 4)")
    parser.add_argument("--warm-up", type=int, default=2, help="steps before the first turn (default 2)")
    parser.add_argument("--pictures", type=int, default=64, help="pictures of the data set (default 64)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default all)")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark_results/training_speed.json"), help="JSON")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.variant:
        return work(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "pictures", arguments.pictures)
        runners = {variant: Runner(variant, folder, arguments) for variant in VARIANTS}
        try:
            rows = take_turns(runners, arguments)
        finally:
            for runner in runners.values():
                runner.close()
    if rows is None:
        return 1
    report = summary(rows)
    settings = {key: str(value) for key, value in vars(arguments).items() if key not in ("variant", "folder")}
    with replacing(arguments.output) as temporary:
        content = {"settings": settings, "hardware": hardware(), "rounds": rows, **report}
        temporary.write_text(json.dumps(content, indent=2))
    fit, plain = report["fit"], report["plain"]
    print(f"\nfit {fit['median']:.2f} samples/s ({fit['lowest']:.2f} to {fit['highest']:.2f}), ", end="")
    print(f"plain {plain['median']:.2f} ({plain['lowest']:.2f} to {plain['highest']:.2f}): ", end="")
    print(f"{report['ratio']:.2f} times ({min(report['ratios']):.2f} to {max(report['ratios']):.2f} by round).")
    print(f"fit waits for data {100 * fit['waiting']:.1f} % of its time, plain {100 * plain['waiting']:.1f} %.")
    machine = ", ".join(f"{key} {value}" for key, value in hardware().items())
    print(f"Measured on: {machine}. Wrote {arguments.output}.")
    return 0


def take_turns(runners: dict[str, Runner], arguments: argparse.Namespace) -> list[dict[str, Any]] | None:
    """Returns a row for each round; None when a variant broke off."""
    for runner in runners.values():
        if runner.turn() is None:  # the warm-up
            return None
    print("| round | fit [samples/s] | plain [samples/s] | ratio |\n|---|---|---|---|")
    rows = []
    for number in range(arguments.rounds):
        row: dict[str, Any] = {}
        for variant, runner in runners.items():
            told = runner.turn()
            if told is None:
                return None
            row[variant] = {"samples/s": arguments.steps * arguments.batch_size / told["seconds"], **told}
        rows.append(row)
        fit, plain = (row[variant]["samples/s"] for variant in VARIANTS)
        print(f"| {number + 1} | {fit:.2f} | {plain:.2f} | {fit / plain:.2f} |", flush=True)
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns median, spread and waiting of each variant, and the ratio of the medians."""
    report: dict[str, Any] = {}
    for variant in VARIANTS:
        speeds = [row[variant]["samples/s"] for row in rows]
        waiting = sum(row[variant]["waiting"] for row in rows) / sum(row[variant]["seconds"] for row in rows)
        report[variant] = {
            "median": statistics.median(speeds),
            "lowest": min(speeds),
            "highest": max(speeds),
            "waiting": waiting,
        }
    report["ratios"] = [row["fit"]["samples/s"] / row["plain"]["samples/s"] for row in rows]
    report["ratio"] = report["fit"]["median"] / report["plain"]["median"]
    return report


class Runner:
    """A variant in a process group of its own, which is stopped while it is not its turn."""

    def __init__(self, variant: str, folder: Path, arguments: argparse.Namespace) -> None:
        words = [sys.executable, "-m", "benchmark.training_speed", f"--variant={variant}", f"--folder={folder}"]
        for name in ("batch_size", "steps", "warm_up", "threads"):
            words.append(f"--{name.replace('_', '-')}={getattr(arguments, name)}")
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        self._stopped = False

    def turn(self) -> dict[str, float] | None:
        """Lets it work for a turn; returns ``seconds`` and the seconds ``waiting`` for data, None when it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._stopped:
            os.killpg(self._process.pid, signal.SIGCONT)
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                os.killpg(self._process.pid, signal.SIGSTOP)  # its loaders would read ahead for free
                self._stopped = True
                return json.loads(line)
        return None

    def close(self) -> None:
        """Ends the process and its loaders."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Turns:
    """Counts steps on the side of a variant, and blocks between turns."""

    def __init__(self, warm_up: int, steps: int) -> None:
        self._left, self._steps = warm_up, steps
        sys.stdin.readline()
        self._start = self._ended = time.perf_counter()
        self._waiting = 0.0

    def begin(self) -> None:
        """A step's data are there."""
        self._waiting += time.perf_counter() - self._ended

    def end(self) -> None:
        """A step is done."""
        self._ended = time.perf_counter()
        self._left -= 1
        if self._left:
            return
        print(json.dumps({"seconds": self._ended - self._start, "waiting": self._waiting}), flush=True)
        if not sys.stdin.readline():
            os._exit(0)
        self._left, self._waiting = self._steps, 0.0
        self._start = self._ended = time.perf_counter()


def write_pictures(folder: Path, count: int) -> None:
    """Writes an RGB-D folder of smooth random scenes with some noise, and holes in the depth."""
    rng = np.random.default_rng(0)
    rows, columns = SIZE
    for part in ("rgb", "depth"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        coarse = rng.random((6, 8, 4)).astype(np.float32)
        smooth = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
        rgb = np.clip(smooth[..., :3] * 255 + rng.normal(0, 4, (rows, columns, 3)), 0, 255).astype(np.uint8)
        depth = np.clip(500 + smooth[..., 3] * 7000, 0, 9900).astype(np.uint16)
        depth[smooth[..., 0] > 0.9] = 0
        cv2.imwrite(str(folder / "rgb" / f"{number:04d}.png"), rgb)
        cv2.imwrite(str(folder / "depth" / f"{number:04d}.png"), depth)
    camera = {"fx": 518.9, "fy": 519.5, "cx": 325.6, "cy": 253.7, "depth_scale_units_per_metre": 1000}
    (folder / "intrinsics.json").write_text(json.dumps(camera))


def work(arguments: argparse.Namespace) -> int:
    """Is a variant."""
    import torch

    torch.set_num_threads(arguments.threads)
    if arguments.variant == "fit":
        work_fit(arguments)
    else:
        from benchmark.plain_training import train

        turns = Turns(arguments.warm_up, arguments.steps)
        train(arguments.folder / "pictures", arguments.batch_size, turns.begin, turns.end)
    return 0


def work_fit(arguments: argparse.Namespace) -> None:
    """Trains with the command's own code."""
    from lightning.pytorch.callbacks import Callback

    from clip_depth_training.fitting.fit import fit
    from clip_depth_training.recipe import Recipe

    class Watch(Callback):
        def on_train_start(self, *_: Any) -> None:
            self.turns = Turns(arguments.warm_up, arguments.steps)

        def on_train_batch_start(self, *_: Any) -> None:
            self.turns.begin()

        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            self.turns.end()

    pictures = arguments.folder / "pictures"
    changes = [f"train={pictures}", f"validation={pictures}", f"batch_size={arguments.batch_size}"]
    recipe = Recipe.load("space_clip_nyu", [*changes, "network.pretrained=''", "epochs=9999", "validate_every=999999"])
    fit(recipe, arguments.folder / "run", callbacks=[Watch()])


if __name__ == "__main__":
    sys.exit(main())
