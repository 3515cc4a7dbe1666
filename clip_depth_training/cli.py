"""``clip-depth-train``: the command line of the training package."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from clip_depth_ros.cli import run_commands

COMMANDS: dict[str, tuple[str, str]] = {
    "prepare": ("clip_depth_training.prepare", "check pictures with depth and make them a data set"),
    "render": ("clip_depth_training.simulation.render_command", "render simulated rooms, or a walk through them"),
    "fit": ("clip_depth_training.fitting.fit", "train what a recipe says"),
    "evaluate": ("clip_depth_training.evaluation.evaluate", "measure weights beside the trivial predictions"),
    "export": ("clip_depth_training.export", "turn a training checkpoint into the files the node loads"),
    "zero-shot": ("clip_depth_training.zero_shot", "write DepthCLIP's head, which needs words and no training"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0 (done), 1 (failed) or 2 (bad input)."""
    return run_commands("clip-depth-train", "Make the weights that clip_depth_ros loads.", COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())
