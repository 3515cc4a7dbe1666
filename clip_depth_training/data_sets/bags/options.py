"""The options of ``clip-depth-train prepare bag``."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.ground_truth.options import (
    TruthOptions,
    add_geometry_arguments,
    add_time_arguments,
    add_topic_arguments,
)

VALIDATION_SUFFIX = "_validation"
GAP_S = 2.0
"""Seconds of the recording left out between the training part and the held-out part."""


@dataclass(frozen=True)
class Options(TruthOptions):
    """What the user asked for; :func:`add_arguments` says what each means."""

    every: float = 0.5
    hold_out: float = 0.0
    depth_range: tuple[float, float] | None = None
    jpeg: bool = False

    def check(self) -> None:
        """Raises BadInput where a number is out of range, or options exclude each other."""
        super().check()
        if not 0.0 <= self.hold_out < 1.0:
            raise BadInput(f"--hold-out is {self.hold_out:g}: give a part from 0 to below 1.")
        if self.depth_range and not 0 <= self.depth_range[0] < self.depth_range[1] < float("inf"):
            near, far = self.depth_range
            raise BadInput(f"--depth-range {near:g} {far:g} is no range: give nearest and farthest in metres.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options to ``parser``."""
    add_topic_arguments(parser.add_argument_group("topics (found by themselves where the recording has one candidate)"))
    add_geometry_arguments(parser.add_argument_group("geometry"))
    _add_taking(parser.add_argument_group("what is taken"))


def _add_taking(group: argparse._ArgumentGroup) -> None:
    add_time_arguments(group, Options.every)
    group.add_argument(
        "--hold-out",
        type=float,
        default=Options.hold_out,
        metavar="PART",
        help=f"write the last part of the recording (0.2: a fifth) to OUTPUT{VALIDATION_SUFFIX} as a set of its own, "
        f"{GAP_S:g} s after the rest (default: nothing)",
    )
    group.add_argument(
        "--depth-range",
        type=float,
        nargs=2,
        metavar=("NEAR", "FAR"),
        help="depth that counts, m (default: 0.1 10; LiDAR: 0.5 80)",
    )
    group.add_argument("--jpeg", action="store_true", help="write pictures as JPEG (quality 95) instead of PNG")
