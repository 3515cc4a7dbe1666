"""Ways to do the same thing, timed in turns, so that what else a machine does meets all of them alike."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from clip_depth_ros.files import replacing
from clip_depth_ros.hardware import hardware, versions

_NO_SETTINGS = ("command", "run")  # of the command line itself


class Spread(NamedTuple):
    """Several runs of the same thing."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Returns the spread of ``values``, of which there must be one at least."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 1, scale: float = 1.0) -> str:
        """Returns ``median (lowest to highest)``, each times ``scale``."""
        median, lowest, highest = (f"{scale * value:.{digits}f}" for value in self)
        return f"{median} ({lowest} to {highest})"


def take_turns(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    device: str,
    *,
    repeats: int = 1,
    warm_ups: int = 1,
    digits: int = 1,
    before: Callable[[], object] | None = None,
) -> dict[str, list[float]]:
    """Runs every way once in each round; prints a row for each round.

    Args:
        ways: what to time, by name.
        rounds: how often.
        device: where they compute; work on a GPU is waited for.
        repeats: runs of a way in its turn, whose median counts.
        warm_ups: runs of a way before the first round, for the constants, caches and threads of a first run.
        digits: decimals of the milliseconds that are printed.
        before: what is done before each run, untimed.

    Returns:
        The seconds of every way in every round.
    """
    for way in ways.values():
        for _ in range(warm_ups):
            _seconds(way, device, before)
    print("| round | " + " | ".join(f"{name} [ms]" for name in ways) + " |" + "\n" + "|---" * (len(ways) + 1) + "|")
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            taken[name].append(statistics.median(_seconds(way, device, before) for _ in range(repeats)))
        cells = " | ".join(f"{1000 * values[-1]:.{digits}f}" for values in taken.values())
        print(f"| {number + 1} | {cells} |", flush=True)
    return taken


def write_report(output: Path, arguments: argparse.Namespace, report: Mapping[str, Any]) -> None:
    """Writes a report with its settings, hardware and versions as JSON, and says so."""
    settings = {key: str(value) for key, value in vars(arguments).items() if key not in _NO_SETTINGS}
    content = {
        "settings": settings,
        "hardware": hardware(),
        "versions": versions(),
        "threads": threads_of(arguments),
        **report,
    }
    with replacing(output) as temporary:
        temporary.write_text(json.dumps(content, indent=2))
    print(f"\nMeasured on: {machine(arguments)}. Wrote {output}.")


def machine(arguments: argparse.Namespace) -> str:
    """Returns the hardware in words, and how many threads were used."""
    words = ", ".join(f"{key} {value}" for key, value in hardware().items())
    return f"{words}, {threads_of(arguments)} threads"


def threads_of(arguments: argparse.Namespace) -> int:
    """Returns the CPU threads of what was measured: those asked for, or PyTorch's own choice."""
    return getattr(arguments, "threads", None) or torch.get_num_threads()


def _seconds(way: Callable[[], object], device: str, before: Callable[[], object] | None) -> float:
    if before is not None:
        before()
    start = time.perf_counter()
    way()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
