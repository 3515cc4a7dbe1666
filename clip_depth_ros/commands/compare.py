"""``clip-depth compare``: replay reports side by side."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``clip-depth compare``."""
    parser.add_argument(
        "reports",
        type=Path,
        nargs="+",
        metavar="REPORT.json",
        help="reports of clip-depth replay, or the folders they are in",
    )
    parser.add_argument(
        "-o", "--output", type=Path, help="folder for compare.html, compare.md and compare.json (default: none)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs ``clip-depth compare`` and prints its table; returns the exit code."""
    from clip_depth_ros.replay.compare import compare, read_reports, write_comparison

    reports = read_reports(arguments.reports)
    comparison = compare(reports)
    print(comparison.as_markdown(), end="")
    if arguments.output is not None:
        written = write_comparison(arguments.output, comparison, reports)
        print(f"\nIn {arguments.output}: {', '.join(file.name for file in written)}")
    return 0
