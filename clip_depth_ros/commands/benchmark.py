"""``clip-depth benchmark``: speed, memory and start-up on this machine."""

from __future__ import annotations

import argparse
import importlib
import os

from clip_depth_ros.benchmark.options import PARTS, check


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the parts of the suite, each with options of its own."""
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    for name, part in PARTS.items():
        described = f"{part.help_line[0].upper()}{part.help_line[1:]}."
        part.add_options(parts.add_parser(name, help=part.help_line, description=described))


def run(arguments: argparse.Namespace) -> int:
    """Measures, prints the table, and writes PART.json, PART.md and PART.png; 1 when the node did not do its part.

    Raises:
        BadInput: an option, weights or an output folder that cannot be used, or a package that is not installed.
    """
    check(arguments)
    from clip_depth_ros.benchmark.report import write_outcome
    from clip_depth_ros.files import writable_folder

    writable_folder(arguments.output)
    load, _, _ = os.getloadavg()
    outcome = importlib.import_module(PARTS[arguments.part].module).measure(arguments)
    if outcome is None:
        return 1
    write_outcome(arguments, outcome, load)
    return 0
