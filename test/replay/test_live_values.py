from __future__ import annotations

import time

import pytest

from clip_depth_ros.replay.live_values import attribute_drops, run_values
from clip_depth_ros.replay.measure import StreamMeasurement, StreamTimes

NO_LOAD = {"cpu_percent": None, "memory_mib": None, "gpu": None}


def _measured(sent: int, received: int) -> StreamMeasurement:
    return StreamMeasurement(sent, received, sent - received, 0, 10.0, 10.0, 0.01, 0.01, 0.01, 0.01)


def _report(received: int, published: int, **others: int) -> dict[str, str]:
    counts = {"received": received, "published": published, **{k.replace("_", " "): v for k, v in others.items()}}
    return {"input rate [Hz]": "9.87", **{f"frames {name}": str(count) for name, count in counts.items()}}


def test_the_node_s_counters_say_who_lost_an_image():
    # 100 sent, 95 reached it, 7 of which it dropped and 2 of which it rejected; of 86 published 83 came back.
    before = _report(40, 30, dropped_for_a_newer_one=10, rejected=0, failed=0)
    after = _report(135, 116, dropped_for_a_newer_one=17, rejected=2, failed=0)
    assert attribute_drops(_measured(100, 83), before, after) == {
        "dropped_by_node": 9,
        "lost_by_dds": 8,
        "lost_on_the_way_in": 5,
        "lost_on_the_way_out": 3,
        "dropped_reasons": {"dropped for a newer one": 7, "rejected": 2},
    }


@pytest.mark.parametrize(("before", "after"), [(None, _report(1, 1)), (_report(1, 1), None), ({}, {"state": "active"})])
def test_without_counters_nobody_is_blamed(before, after):
    assert set(attribute_drops(_measured(10, 5), before, after).values()) == {None}


def test_a_run_of_many_images_keeps_some_latencies_and_nothing_that_json_lacks(monkeypatch):
    clock = iter([value * 1_000_000 for index in range(5000) for value in (10 * index, 10 * index + 3)])
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(clock))
    times = StreamTimes()
    for stamp in range(5000):
        times.send(stamp)
        times.receive(stamp)
    found = run_values(0.0, float("nan"), times, None, None, NO_LOAD)
    assert found["offered_hz"] is None
    assert found["seconds"] == pytest.approx(49.993)
    assert found["latency_ms"] == pytest.approx(dict.fromkeys(("p50", "p90", "p95", "p99", "max"), 3.0))
    assert found["jitter_ms"] == pytest.approx({"p50": 0.0, "p99": 0.0})
    assert len(found["latencies"]["ms"]) == len(found["latencies"]["t_s"]) == 2000
    assert found["latencies"]["t_s"][:3] == pytest.approx([0.0, 0.02, 0.05])
    assert found["latencies"]["t_s"][-1] == pytest.approx(49.97)


def test_one_image_has_no_rate():
    times = StreamTimes()
    times.send(1)
    times.receive(1)
    found = run_values(1.0, float("nan"), times, None, None, NO_LOAD)
    assert (found["sent"], found["received"], found["sent_hz"], found["received_hz"]) == (1, 1, None, None)
    assert found["jitter_ms"] == {"p50": None, "p99": None}
