"""Ways to do the same thing, timed in turns, so that what else a machine does meets all of them alike."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmark.hardware import hardware
from clip_depth_ros.files import replacing


def take_turns(ways: Mapping[str, Callable[[], object]], rounds: int, device: str) -> dict[str, list[float]]:
    """Runs every way once in each round; prints a row for each round.

    Args:
        ways: what to time, by name.
        rounds: how often; one more comes first, for the constants, caches and threads of a first run.
        device: where they compute; work on a GPU is waited for.

    Returns:
        The seconds of every way in every round.
    """
    for way in ways.values():
        _seconds(way, device)
    print("| round | " + " | ".join(f"{name} [ms]" for name in ways) + " |" + "\n" + "|---" * (len(ways) + 1) + "|")
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            taken[name].append(_seconds(way, device))
        cells = " | ".join(f"{1000 * values[-1]:.1f}" for values in taken.values())
        print(f"| {number + 1} | {cells} |", flush=True)
    return taken


def write_report(output: Path, arguments: argparse.Namespace, report: Mapping[str, Any]) -> None:
    """Writes a report with its settings and hardware as JSON, and says so."""
    settings = {key: str(value) for key, value in vars(arguments).items()}
    with replacing(output) as temporary:
        temporary.write_text(json.dumps({"settings": settings, "hardware": hardware(), **report}, indent=2))
    machine = ", ".join(f"{key} {value}" for key, value in hardware().items())
    print(f"\nMeasured on: {machine}, {torch.get_num_threads()} threads. Wrote {output}.")


def _seconds(way: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    way()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
