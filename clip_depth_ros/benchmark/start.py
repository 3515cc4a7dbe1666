"""``clip-depth benchmark start``: from the start of a process to its first depth, of the estimator and of the node."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial

from clip_depth_ros.benchmark.first_depth import STEPS
from clip_depth_ros.benchmark.report import Outcome, Table, draw_bars
from clip_depth_ros.benchmark.sessions import node_session, say, with_threads
from clip_depth_ros.benchmark.turns import Spread
from clip_depth_ros.benchmark.weights import node_config
from clip_depth_ros.errors import BadInput
from clip_depth_ros.sizes import parse_size

_RATE = 20.0  # Hz; images while the node starts, so the first depth is seen up to 50 ms late
_DEPTH = "depth/image"
LISTENS, FIRST = "node: listens", "node: first depth"
TOTAL = "estimator: first depth"
_REMARK = (
    "Steps of the estimator take what they say; all other rows are from the start of the process. The first start may "
    "read files that the others find in memory."
)


def measure(arguments: argparse.Namespace) -> Outcome | None:
    """Starts both in turns; None when the node did not do its part, which is then said.

    Raises:
        BadInput: the configuration or its weights cannot be used.
    """
    taken: dict[str, list[float]] = {}
    failures: tuple[type[Exception], ...] = ()
    if not arguments.no_node:
        from clip_depth_ros.replay.live import LiveFailure

        failures = (LiveFailure,)
    try:
        for number in range(arguments.rounds):
            found = estimator_start(arguments)
            found |= {} if arguments.no_node else node_start(arguments)
            for name, seconds in found.items():
                taken.setdefault(name, []).append(seconds)
            told = [f"{name} {found[name]:.2f} s" for name in (TOTAL, LISTENS, FIRST) if name in found]
            print(f"start {number + 1}: {', '.join(told)}", flush=True)
    except failures as failure:
        say(failure)
        return None
    rows = [[name, Spread.of(values).text(2), f"{values[0]:.2f}"] for name, values in taken.items()]
    results = {
        "seconds": taken,
        "seconds_spread": {name: Spread.of(values)._asdict() for name, values in taken.items()},
    }
    weights = "a tiny network" if arguments.tiny else arguments.config
    title = f"Start to the first depth: {weights}, {arguments.size}, device {arguments.device}"
    table = Table(["until, or step", "s (lowest to highest)", "first start"], rows)
    return Outcome(title, results, [table], partial(draw_bars, label="s", values=taken), [_REMARK])


def estimator_start(arguments: argparse.Namespace) -> dict[str, float]:
    """Returns the seconds of each step of one start of the estimator, and of all up to its first depth.

    Raises:
        BadInput: it ended without a depth, with its last words.
    """
    height, width = parse_size(arguments.size, "--size")
    environment = with_threads(dict(os.environ), arguments.threads)
    with node_config(arguments) as config:
        words = [sys.executable, "-m", "clip_depth_ros.benchmark.first_depth", str(config), arguments.device]
        began = time.monotonic()
        try:
            done = subprocess.run(
                [*words, str(height), str(width)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=arguments.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BadInput(f"{config} gave no depth within {arguments.timeout:g} s: raise --timeout.") from error
    if done.returncode:
        raise BadInput((done.stderr.strip().splitlines() or [f"{config} gave no depth, and no reason."])[-1])
    return steps([began, *json.loads(done.stdout.splitlines()[-1])])


def steps(moments: list[float]) -> dict[str, float]:
    """Returns the seconds between consecutive moments by :data:`STEPS`, and those up to the first depth."""
    found: Mapping[str, float] = {
        f"step: {name}": later - earlier for name, earlier, later in zip(STEPS, moments, moments[1:])
    }
    return {**found, TOTAL: moments[STEPS.index("first depth") + 1] - moments[0]}


def node_start(arguments: argparse.Namespace) -> dict[str, float]:
    """Returns the seconds from the start of the node's process until it listens, and until its first depth came.

    Raises:
        LiveFailure: it ended, or took too long.
    """
    from clip_depth_ros.replay.live import LiveFailure

    key, heard = ("", _DEPTH), 0.0
    with node_session(arguments, [""], [_DEPTH]) as (process, client, started):
        while key not in client.first:
            if not heard and client.heard:
                heard = time.monotonic()
            if not process.running() or time.monotonic() - started > arguments.timeout:
                raise LiveFailure(f"The node gave no depth within {arguments.timeout:g} s.\n{process.log_tail()}")
            client.send()
            time.sleep(1 / _RATE)
        return {LISTENS: (heard or client.first[key]) - started, FIRST: client.first[key] - started}
