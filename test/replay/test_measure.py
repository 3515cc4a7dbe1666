from __future__ import annotations

import math
import time

import pytest

from clip_depth_ros.replay.measure import StreamTimes


def test_drops_duplicates_and_strangers_are_told_apart():
    times = StreamTimes()
    for stamp in range(5):
        times.send(stamp)
    for stamp in (0, 1, 1, 3, 99):
        times.receive(stamp)
    assert times.missing == 2
    found = times.measured()
    assert (found.sent, found.received, found.dropped, found.unexpected) == (5, 3, 2, 2)


def test_latency_is_from_sending_to_receiving_of_the_same_stamp(monkeypatch):
    clock = iter([0, 10_000_000, 25_000_000, 50_000_000])
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(clock))
    times = StreamTimes()
    times.send(7)
    times.send(8)
    times.receive(7)
    times.receive(8)
    found = times.measured()
    assert found.latency_p50_s == (0.025 + 0.040) / 2
    assert found.latency_max_s == 0.040
    assert 0.0398 < found.latency_p99_s < 0.040
    assert found.sent_hz == 100.0
    assert found.received_hz == 40.0


def test_nothing_received_gives_no_numbers_instead_of_zeros():
    times = StreamTimes()
    assert math.isinf(times.idle_s)
    times.send(1)
    found = times.measured()
    assert (found.sent, found.received, found.dropped) == (1, 0, 1)
    assert math.isnan(found.latency_p50_s)
    assert math.isnan(found.sent_hz)


def test_images_that_share_a_stamp_are_each_counted(monkeypatch):
    clock = iter([0, 10, 15, 30])
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(clock) * 1_000_000)
    times = StreamTimes()
    times.send(0)
    times.send(0)
    times.receive(0)
    times.receive(0)
    found = times.measured()
    assert (found.sent, found.received, found.dropped, found.unexpected) == (2, 2, 0, 0)
    assert found.latency_max_s == 0.020


def test_percentiles_and_jitter_against_numbers_by_hand(monkeypatch):
    sent = [0, 100, 200, 300, 400]
    received = [50, 170, 240, 390, 450]  # latencies 50, 70, 40, 90, 50 ms; their steps 20, 30, 50, 40
    clock = iter([*sent, *received])
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(clock) * 1_000_000)
    times = StreamTimes()
    for stamp in range(5):
        times.send(stamp)
    for stamp in range(5):
        times.receive(stamp)
    found = times.measured()
    assert found.latency_p50_s == 0.050
    assert found.latency_p95_s == pytest.approx(0.070 + 0.8 * 0.020)  # 3.8 steps into the sorted five
    assert found.jitter_p50_s == pytest.approx(0.035)
    assert found.jitter_p99_s == pytest.approx(0.040 + 0.97 * 0.010)
    assert times.answers == [(left * 1_000_000, came * 1_000_000) for left, came in zip(sent, received)]
    assert (times.fastest_s, times.slowest_s) == (0.040, 0.090)
    assert times.knows(4)
    assert not times.knows(5)


def test_one_answer_has_no_jitter():
    times = StreamTimes()
    times.send(1)
    times.receive(1)
    found = times.measured()
    assert found.latency_p95_s == found.latency_max_s > 0
    assert math.isnan(found.jitter_p50_s)
    assert math.isnan(found.jitter_p99_s)
