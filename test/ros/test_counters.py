"""Counting and timing of one camera's stream."""

from __future__ import annotations

import math
import time

import pytest

from clip_depth_ros.ros.counters import TIMES, Batches, FrameTiming, Rate, StreamCounters


def test_percentiles_are_in_milliseconds_over_the_last_frames() -> None:
    counters = StreamCounters()
    for index in range(1000):
        latency = 0.5 if index < 400 else 0.010 + 0.001 * (index % 100)
        counters.finish(FrameTiming(wait=0.001, read=0.002, network=0.005, write=0.002, latency=latency))
    summary = counters.percentiles()
    assert list(summary) == list(TIMES)
    assert summary["latency"] == pytest.approx((59.5, 108), abs=1.1)  # the 400 slow frames at the start are gone
    assert summary["node_cost"] == pytest.approx((54.5, 103), abs=1.1)
    steps = [summary[name] for name in ("wait", "read", "network", "write")]
    assert steps == [pytest.approx((value, value)) for value in (1, 2, 5, 2)]
    assert counters.published.total == 1000


def test_before_the_first_frame_there_are_no_percentiles() -> None:
    summary = StreamCounters().percentiles()
    assert list(summary) == list(TIMES)
    assert all(math.isnan(value) for pair in summary.values() for value in pair)


def test_rate_of_a_steady_stream_and_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    rate = Rate()
    assert (rate.hertz(), rate.age, rate.total) == (0.0, None, 0)
    for _ in range(100):
        now[0] += 0.1
        rate.count()
    assert rate.hertz() == pytest.approx(10.0, rel=0.02)
    now[0] += 1.5
    assert rate.age == pytest.approx(1.5)
    now[0] += 10
    assert rate.hertz() == 0.0


def test_batches_know_their_size_and_their_cameras() -> None:
    batches = Batches()
    assert math.isnan(batches.mean())
    assert math.isnan(batches.share("front"))
    for index in range(900):  # of which the first 300 are too old to count
        batches.count(["front"] if index < 450 else ["front", "rear", "left"])
    assert batches.total == 900
    assert batches.mean() == pytest.approx((150 * 1 + 450 * 3) / 600)
    assert [batches.share(name) for name in ("front", "rear", "gone")] == [1.0, 0.75, 0.0]
