"""``clip-depth-train prepare``: checks a source of pictures with depth and makes it a data set."""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from clip_depth_ros.errors import BadInput

_DATA_SETS = "clip_depth_training.data_sets"
KINDS: dict[str, tuple[str, str]] = {
    "nyu-sync": ("nyu", "NYU Depth V2, synchronised pictures and a list file; SOURCE: the folder the list refers to"),
    "nyu-labelled": ("nyu_labelled", "NYU Depth V2, labelled; SOURCE: nyu_depth_v2_labeled.mat"),
    "kitti": ("kitti", "KITTI, Eigen split, raw pictures and annotated depth; SOURCE: the folder of both"),
    "rgbd": ("rgbd", "an RGB-D folder; SOURCE: holds rgb/, depth/ (16-bit) and intrinsics.json"),
    "bag": ("bag", "a recording; SOURCE: a ROS bag with images and depth"),
}
"""Sub-command -> module with ``add_arguments(parser)`` and ``prepare(arguments) -> PreparedSet``, and help."""


class _KindParser(argparse.ArgumentParser):
    """The parser of one kind. It imports the kind's module only when it is asked to parse: each needs other
    libraries, and bags need an extra that not everybody has."""

    kind = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Declares the kind's options, then parses."""
        if self.kind:
            _module(self.kind).add_arguments(self)
            self.kind = ""
        return super().parse_known_args(args, namespace)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the kinds of source and their options."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True, parser_class=_KindParser)
    for name, (_, help_line) in KINDS.items():
        kind = kinds.add_parser(name, help=help_line, description=f"{help_line[0].upper()}{help_line[1:]}.")
        _add_common_arguments(kind)
        kind.kind = name
    help_line = "rooms that `clip-depth-train render` made: checks and packs them"
    rooms = kinds.add_parser(
        "rooms",
        help=help_line,
        description=f"{help_line[0].upper()}{help_line[1:]}. A bad room is always an error: delete its file, and "
        "`clip-depth-train render` makes it again.",
    )
    rooms.add_argument("source", type=Path, metavar="FOLDER", help="folder of room_*.npz")
    _add_workers(rooms)


def run(arguments: argparse.Namespace) -> int:
    """Runs ``prepare``."""
    for name in ("workers", "limit"):
        value = getattr(arguments, name, None)
        if value is not None and value < 1:
            raise BadInput(f"--{name} is {value}: it must be at least 1.")
    if arguments.kind == "rooms":
        from clip_depth_training.data_sets.room_checks import check_rooms

        for line in check_rooms(arguments.source, arguments.workers):
            print(line)
        return 0
    prepared = _module(arguments.kind).prepare(arguments)
    summary = prepared.finish(arguments.workers)
    print("\n".join([*summary.lines(prepared.index), *prepared.written()]))
    return 0


def _module(kind: str) -> ModuleType:
    return importlib.import_module(f"{_DATA_SETS}.{KINDS[kind][0]}")


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help="what to read")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder of the index and the contact sheet"
    )
    parser.add_argument("--name", default="", help="what to call the set (default: from the source)")
    parser.add_argument(
        "--split", choices=("train", "test", "validation"), default="", help="which part of the source this is"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="take only N samples, spread evenly over the source (for trying)"
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave bad samples out, listed in the index and counted (by default the first one is an error)",
    )
    _add_workers(parser)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads (default: one a core)")
