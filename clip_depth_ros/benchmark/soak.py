"""``clip-depth benchmark soak``: cameras send for a while; no accepted frame may be lost, and memory must stay flat."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

from clip_depth_ros.benchmark.report import Curve, Outcome, Table, draw_curves
from clip_depth_ros.benchmark.sessions import node_session, say
from clip_depth_ros.memory import MEBIBYTE, status_bytes
from clip_depth_ros.replay.node_process import NodeProcess

_DEPTH = "depth/image"
_COUNTS = (
    *("frames received", "frames over max_rate", "frames published", "frames dropped for a newer one"),
    *("frames rejected", "frames failed", "frames nobody subscribed to"),
)
_DEVICE_MEMORY = "device memory [MiB]"
_FLAT_PERCENT = 1.0
_HEADER = ("run", "what", "target", "measured", "met")
_REMARK = (
    "Accepted: images that reached the node's callback, without those over max_rate. Lost: accepted images whose depth "
    "never came, those dropped for a newer one included. Resident memory contains what Fast DDS shares between "
    "processes; memory of the process alone is without that and without files."
)
Series = tuple[list[float], list[float]]
"""Seconds since the first image, and values."""


class Verdict(NamedTuple):
    """A line of the table; ``met`` is None where nothing was asked or nothing could be said."""

    what: str
    target: str
    measured: str
    met: bool | None = None

    @property
    def row(self) -> list[str]:
        """The line's cells."""
        return [self.what, self.target, self.measured, {True: "yes", False: "no", None: "-"}[self.met]]


class MemoryWatch:
    """Samples the memory of a process each second, in a thread, while the ``with`` block runs."""

    def __init__(self, process: NodeProcess, period_s: float = 1.0) -> None:
        self._process, self._period_s = process, period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.started = time.monotonic()
        self.resident: Series = ([], [])
        self.anonymous: Series = ([], [])

    def __enter__(self) -> MemoryWatch:
        self.started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                values = [status_bytes(field, self._process.pid) for field in ("VmRSS", "RssAnon")]
            except OSError:
                return  # the node ended: whoever streams says so
            now = time.monotonic() - self.started
            for (seconds, bytes_held), value in zip((self.resident, self.anonymous), values):
                seconds.append(now)
                bytes_held.append(float(value))
            if self._stop.wait(self._period_s):
                return


def growth(series: Series, settle_s: float) -> float | None:
    """Returns by how many per cent a series rose at most above its first value after ``settle_s`` seconds.

    None when it has fewer than two values from then on, or began with nothing.
    """
    later = [value for second, value in zip(*series) if second >= settle_s]
    if len(later) < 2 or later[0] <= 0:
        return None
    return 100 * (max(later) - later[0]) / later[0]


def measure(arguments: argparse.Namespace) -> Outcome | None:
    """Runs the soak; None when the node did not do its part, which is then said.

    Raises:
        BadInput: the configuration is not there.
    """
    from clip_depth_ros.replay.live import LiveFailure

    cameras = [f"camera_{number}" for number in range(arguments.cameras)]
    runs = []
    try:
        for number in range(arguments.rounds):
            print(f"run {number + 1}: {arguments.seconds:g} s of images, after the node has started", flush=True)
            runs.append(_run_once(arguments, cameras))
    except LiveFailure as failure:
        say(failure)
        return None
    rows = []
    for number, run in enumerate(runs):
        verdicts = judge(run, arguments.rate, arguments.settle)
        run["verdicts"] = [verdict._asdict() for verdict in verdicts]
        rows += [[str(number + 1), *verdict.row] for verdict in verdicts]
    node = runs[0]["node"]
    title = (
        f"Soak: {len(cameras)} camera{'s' * (len(cameras) > 1)} x {arguments.rate:g} Hz x {arguments.seconds:g} s, "
        f"{arguments.size}, {node.get('encoder', '')} with {node.get('heads', '')}, on {node.get('device', '')}"
    )
    return Outcome(title, {"runs": runs}, [Table(_HEADER, rows)], partial(draw_curves, panels=_panels(runs)), [_REMARK])


def _run_once(arguments: argparse.Namespace, cameras: Sequence[str]) -> dict[str, Any]:
    from clip_depth_ros.benchmark.client import counted

    with node_session(arguments, cameras, [_DEPTH]) as (process, client, _):
        client.wait_until_ready(process, arguments.rate, arguments.timeout)
        before = client.report(process)
        with MemoryWatch(process) as watch:
            client.stream(max(1, round(arguments.rate * arguments.seconds)), arguments.rate, process)
        after = client.report(process)
        times = {camera: client.times[camera, _DEPTH] for camera in cameras}
        device = [
            (when - watch.started, float(told["node"][_DEVICE_MEMORY]) * MEBIBYTE)
            for when, told in client.reports
            if when >= watch.started and _DEVICE_MEMORY in told["node"]
        ]
    return {
        "cameras": {camera: asdict(one.measured()) for camera, one in times.items()},
        "counts": {
            camera: {name: counted(before[camera], after[camera], name) for name in _COUNTS} for camera in cameras
        },
        "node": after["node"],
        "latencies": {camera: _latencies(one.answers, watch.started) for camera, one in times.items()},
        "resident_bytes": watch.resident,
        "anonymous_bytes": watch.anonymous,
        "device_bytes": [list(column) for column in zip(*device)] or [[], []],
    }


def _latencies(answers: Sequence[tuple[int, int]], started: float) -> Series:
    """Returns when each answered image left (seconds since ``started``) and the seconds until its answer."""
    left = [sent / 1e9 - started for sent, _ in answers]
    return left, [(received - sent) / 1e9 for sent, received in answers]


def judge(run: Mapping[str, Any], rate: float, settle_s: float) -> list[Verdict]:
    """Returns the lines of the table for one run."""
    sent = sum(one["sent"] for one in run["cameras"].values())
    back = sum(one["received"] for one in run["cameras"].values())
    counts = {name: sum(one[name] for one in run["counts"].values()) for name in _COUNTS}
    accepted = counts["frames received"] - counts["frames over max_rate"]
    worst = {part: max(one[f"latency_{part}_s"] for one in run["cameras"].values()) for part in ("p50", "p99")}
    lost = accepted - back
    reasons = ", ".join(f"{counts[name]} {name.removeprefix('frames ')}" for name in _COUNTS[3:] if counts[name])
    limit = 2 / rate
    lines = [
        Verdict("frames sent", "-", str(sent)),
        Verdict("frames accepted by the node", "-", str(accepted)),
        Verdict("frames lost after acceptance", "0", f"{lost} ({reasons})" if reasons else str(lost), lost <= 0),
        Verdict("in to out p50, worst camera", "-", f"{1e3 * worst['p50']:.1f} ms"),
        Verdict(
            "in to out p99, worst camera",
            f"under {1e3 * limit:.1f} ms (two periods)",
            f"{1e3 * worst['p99']:.1f} ms",
            worst["p99"] < limit,
        ),
    ]
    for name, key, asked in (
        ("resident memory", "resident_bytes", True),
        ("memory of the process alone", "anonymous_bytes", False),
        ("device memory", "device_bytes", bool(run["device_bytes"][1])),
    ):
        if run[key][1]:
            lines.append(_flatness(name, (run[key][0], run[key][1]), settle_s, asked))
    return lines


def _flatness(name: str, series: Series, settle_s: float, asked: bool) -> Verdict:
    rise = growth(series, settle_s)
    target = f"at most {_FLAT_PERCENT:g} % after {settle_s:g} s" if asked else "-"
    held = f"{series[1][-1] / MEBIBYTE:.0f} MiB at the end"
    if rise is None:
        return Verdict(f"{name}, growth", target, f"too short to say; {held}")
    return Verdict(f"{name}, growth", target, f"{rise:.2f} %; {held}", rise <= _FLAT_PERCENT if asked else None)


def _panels(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Curve]]:
    latency: dict[str, Curve] = {}
    memory: dict[str, Curve] = {}
    for number, run in enumerate(runs):
        for camera, (seconds, values) in run["latencies"].items():
            latency[f"run {number + 1}, {camera}"] = (seconds, [1e3 * value for value in values])
        for name in ("resident", "anonymous", "device"):
            seconds, values = run[f"{name}_bytes"]
            if values:
                memory[f"run {number + 1}, {name}"] = (seconds, [value / MEBIBYTE for value in values])
    return {"in to out [ms]": latency, "memory [MiB]": memory}
