"""``clip-depth benchmark node``: the running node over DDS, measured by itself and by the other side.

Its own side comes from /diagnostics. There, node cost is the time from the image callback's entry to the return of the
last publish, minus the network. The other side is another process: from just before it publishes an image to the
receipt of what has the same stamp.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from clip_depth_ros.benchmark.report import Outcome, Table, draw_bars
from clip_depth_ros.benchmark.sessions import node_session, say
from clip_depth_ros.benchmark.turns import Spread

DEPTH, POINTS, COLOUR = "depth/image", "depth/points", "depth/image_color"
TOPICS = {"depth": (DEPTH,), "depth+points": (DEPTH, POINTS), "depth+colour+points": (DEPTH, COLOUR, POINTS)}
OWN = ("latency", "node cost", "read", "network", "write")
"""Times the node gives of itself, each with p50 and p99."""
_COUNTS = ("frames received", "frames published", "frames dropped for a newer one", "frames rejected", "frames failed")
_REMARK = (
    "In to out: from publishing an image to the receipt of its depth in another process; lost: images whose depth "
    "never came. The node's own percentiles are over its last 600 frames, warm-up included. Each cell: median "
    "(lowest to highest) of the runs."
)


def measure(arguments: argparse.Namespace) -> Outcome | None:
    """Runs the node with each set of topics in turns; None when it did not do its part, which is then said.

    Raises:
        BadInput: the configuration is not there.
    """
    from clip_depth_ros.replay.live import LiveFailure

    asked = {name: TOPICS[name] for name in arguments.topics or TOPICS}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in asked}
    print("| run | topics | in to out p50 [ms] | p99 | node cost p50 [ms] | lost |\n" + "|---" * 6 + "|")
    try:
        for number in range(arguments.rounds):
            for name, topics in asked.items():
                run = _run_once(arguments, topics)
                runs[name].append(run)
                depth = run["client"][DEPTH]
                times = f"{1e3 * depth['latency_p50_s']:.2f} | {1e3 * depth['latency_p99_s']:.2f}"
                cost = run["node"]["node cost p50 [ms]"]
                print(f"| {number + 1} | {name} | {times} | {cost} | {depth['dropped']} |", flush=True)
    except LiveFailure as failure:
        say(failure)
        return None
    return _outcome(arguments, runs)


def _run_once(arguments: argparse.Namespace, topics: Sequence[str]) -> dict[str, Any]:
    from clip_depth_ros.benchmark.client import counted

    with node_session(arguments, [""], topics) as (process, client, _):
        client.wait_until_ready(process, arguments.rate, arguments.timeout)
        before = client.report(process)[""]
        client.stream(arguments.frames, arguments.rate, process)
        after = client.report(process)
        return {
            "client": {topic: asdict(client.times["", topic].measured()) for topic in topics},
            "counts": {name: counted(before, after[""], name) for name in _COUNTS},
            "node": {**after["node"], **after[""]},
        }


def _outcome(arguments: argparse.Namespace, runs: dict[str, list[dict[str, Any]]]) -> Outcome:
    spreads = {name: _spreads(found) for name, found in runs.items()}
    shown = ("in to out p50", "in to out p99", *(f"{name} p50" for name in OWN), "node cost p99")
    rows = []
    for name, found in runs.items():
        lost = sum(run["client"][DEPTH]["dropped"] for run in found)
        sent = sum(run["client"][DEPTH]["sent"] for run in found)
        rows.append([name, *(spreads[name][item].text(2) for item in shown), f"{lost} of {sent}"])
    first = next(iter(runs.values()))[0]["node"]
    results = {
        "topics": {name: list(TOPICS[name]) for name in runs},
        "milliseconds": {
            name: {item: spread._asdict() for item, spread in found.items()} for name, found in spreads.items()
        },
        "runs": runs,
    }
    title = (
        f"Node over DDS: {first.get('encoder', '')} with {first.get('heads', '')}, {arguments.size}, "
        f"{arguments.rate:g} Hz, {arguments.frames} images a run, on {first.get('device', '')}"
    )
    bars = {
        f"{name}: {item}": [value for run in found for value in [_times(run)[item]]]
        for name, found in runs.items()
        for item in ("in to out p50", "in to out p99", "node cost p50")
    }
    table = Table(["topics", *(f"{item} [ms]" for item in shown), "lost"], rows)
    return Outcome(title, results, [table], partial(draw_bars, label="ms", values=bars), [_REMARK])


def _times(run: dict[str, Any]) -> dict[str, float]:
    """Returns a run's times in milliseconds: the other side's of each topic, and the node's own."""
    times = {}
    for part in ("p50", "p99"):
        for topic, found in run["client"].items():
            name = "in to out" if topic == DEPTH else f"in to {topic}"
            times[f"{name} {part}"] = 1e3 * found[f"latency_{part}_s"]
        times |= {f"{name} {part}": float(run["node"][f"{name} {part} [ms]"]) for name in OWN}
    return times


def _spreads(found: Sequence[dict[str, Any]]) -> dict[str, Spread]:
    times = [_times(run) for run in found]
    return {name: Spread.of([one[name] for one in times]) for name in times[0]}
