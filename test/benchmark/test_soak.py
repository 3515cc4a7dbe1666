"""The verdicts of the soak, against figures by hand."""

from __future__ import annotations

import os
import sys
import time

import pytest

from clip_depth_ros.benchmark.soak import MemoryWatch, growth, judge
from clip_depth_ros.replay.node_process import NodeProcess

MIB = float(1 << 20)


def _run(**changes) -> dict:
    camera = {"sent": 100, "received": 97, "latency_p50_s": 0.05, "latency_p99_s": 0.15}
    counts = {
        "frames received": 99,
        "frames over max_rate": 2,
        "frames published": 97,
        "frames dropped for a newer one": 0,
        "frames rejected": 0,
        "frames failed": 0,
        "frames nobody subscribed to": 0,
    }
    seconds = [float(second) for second in range(20)]
    resident = [100 * MIB] * 10 + [200 * MIB] * 5 + [201 * MIB, 203 * MIB, 200 * MIB, 200 * MIB, 200 * MIB]
    run = {
        "cameras": {"camera_0": camera},
        "counts": {"camera_0": counts},
        "resident_bytes": (seconds, resident),
        "anonymous_bytes": (seconds, [50 * MIB] * 20),
        "device_bytes": ([], []),
    }
    for key, value in changes.items():
        part = run["cameras"]["camera_0"] if key in camera else counts
        part[key] = value
    return run


def _met(run: dict, rate: float = 10.0) -> dict[str, tuple[str, bool | None]]:
    return {verdict.what: (verdict.measured, verdict.met) for verdict in judge(run, rate, 10.0)}


def test_all_met_but_memory() -> None:
    verdicts = _met(_run())
    assert verdicts["frames sent"] == ("100", None)
    assert verdicts["frames accepted by the node"] == ("97", None)
    assert verdicts["frames lost after acceptance"] == ("0", True)
    assert verdicts["in to out p99, worst camera"] == ("150.0 ms", True)
    assert verdicts["resident memory, growth"] == ("1.50 %; 200 MiB at the end", False)
    assert verdicts["memory of the process alone, growth"] == ("0.00 %; 50 MiB at the end", None)
    assert "device memory, growth" not in verdicts


def test_a_frame_dropped_for_a_newer_one_is_lost() -> None:
    changes = {"received": 94, "frames published": 94, "frames dropped for a newer one": 3}
    assert _met(_run(**changes))["frames lost after acceptance"] == ("3 (3 dropped for a newer one)", False)


def test_latency_is_held_against_two_periods() -> None:
    assert _met(_run(latency_p99_s=0.2))["in to out p99, worst camera"][1] is False
    assert _met(_run(latency_p99_s=0.2), rate=5.0)["in to out p99, worst camera"][1] is True
    assert _met(_run(latency_p99_s=float("nan")))["in to out p99, worst camera"][1] is False


def test_the_worst_camera_and_all_frames_count() -> None:
    run = _run()
    run["cameras"]["camera_1"] = {**run["cameras"]["camera_0"], "latency_p99_s": 0.25}
    run["counts"]["camera_1"] = run["counts"]["camera_0"]
    verdicts = _met(run)
    assert verdicts["frames sent"][0] == "200"
    assert verdicts["in to out p99, worst camera"] == ("250.0 ms", False)


def test_growth_begins_after_settling() -> None:
    series = ([0.0, 5.0, 10.0, 15.0, 20.0], [1.0, 50.0, 100.0, 110.0, 90.0])
    assert growth(series, 10.0) == pytest.approx(10.0)
    assert growth(series, 0.0) == pytest.approx(10900.0)
    assert growth(series, 20.0) is None
    assert growth(([], []), 1.0) is None


def test_too_short_to_say() -> None:
    run = _run()
    run["resident_bytes"] = ([0.0, 1.0], [MIB, MIB])
    measured, met = _met(run)["resident memory, growth"]
    assert measured.startswith("too short to say")
    assert met is None


def test_memory_of_another_process_is_watched(tmp_path) -> None:
    code = "held = b'x' * (64 << 20); print('holds', flush=True); import time; time.sleep(30)"
    with NodeProcess([sys.executable, "-c", code], dict(os.environ), tmp_path / "log") as process:
        end = time.monotonic() + 20
        while "holds" not in process.log_tail() and time.monotonic() < end:
            time.sleep(0.02)
        with MemoryWatch(process, 0.05) as watch:
            while len(watch.resident[1]) < 3 and time.monotonic() < end:
                time.sleep(0.02)
    assert len(watch.resident[1]) >= 3
    assert min(watch.resident[1]) > 64 << 20
    assert min(watch.anonymous[1]) > 60 << 20
    assert watch.resident[0] == sorted(watch.resident[0])
