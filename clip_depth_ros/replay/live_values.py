"""What a live run measured, as the plain values of report.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clip_depth_ros.replay.measure import StreamMeasurement, StreamTimes
from clip_depth_ros.replay.page.plain import plain

_POINTS = 2000  # of a run's latencies over time
_UNANSWERED = ("dropped for a newer one", "over max_rate", "rejected", "failed", "nobody subscribed to")


def run_values(
    rate: float,
    offered_hz: float,
    times: StreamTimes,
    before: Mapping[str, str] | None,
    after: Mapping[str, str] | None,
    load: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns one entry of ``runs`` of report.json's ``live`` part.

    ``dropped`` images had no answer: ``dropped_by_node`` reached the node and were not published, for
    ``dropped_reasons``; ``lost_by_dds`` never reached it (``lost_on_the_way_in``) or were published and did not come
    back (``lost_on_the_way_out``). These are None where the node says nothing of itself.

    Args:
        rate: 1 is the recorded pace, 0 as fast as the node took them.
        offered_hz: the rate of images that is; NaN where it has none.
        times: what was sent and received.
        before, after: the values of the camera's status on /diagnostics, with nothing under way; None: there is none.
        load: see :meth:`~clip_depth_ros.replay.process_load.ProcessLoad.values`.
    """
    measured = times.measured()
    answers = sorted(times.answers)
    values: dict[str, Any] = {
        "rate": rate,
        "offered_hz": offered_hz,
        "seconds": _seconds(answers),
        "sent": measured.sent,
        "received": measured.received,
        "dropped": measured.dropped,
        **attribute_drops(measured, before, after),
        "unexpected": measured.unexpected,
        "sent_hz": measured.sent_hz,
        "received_hz": measured.received_hz,
        "latency_ms": {
            "p50": 1e3 * measured.latency_p50_s,
            "p90": 1e3 * measured.latency_p90_s,
            "p95": 1e3 * measured.latency_p95_s,
            "p99": 1e3 * measured.latency_p99_s,
            "max": 1e3 * measured.latency_max_s,
        },
        "jitter_ms": {"p50": 1e3 * measured.jitter_p50_s, "p99": 1e3 * measured.jitter_p99_s},
        "latencies": _latencies(answers),
        **load,
    }
    entry: dict[str, Any] = plain(values)
    return entry


def attribute_drops(
    measured: StreamMeasurement, before: Mapping[str, str] | None, after: Mapping[str, str] | None
) -> dict[str, Any]:
    """Returns who lost the images that had no answer, from the node's own counters; see :func:`run_values`."""
    if before is None or after is None or "frames received" not in after:
        names = ("dropped_by_node", "lost_by_dds", "lost_on_the_way_in", "lost_on_the_way_out", "dropped_reasons")
        return dict.fromkeys(names)

    def risen(name: str) -> int:
        return int(after.get(f"frames {name}", 0)) - int(before.get(f"frames {name}", 0))

    reached, published = risen("received"), risen("published")
    lost_in, lost_out = measured.sent - reached, published - measured.received
    return {
        "dropped_by_node": reached - published,
        "lost_by_dds": lost_in + lost_out,
        "lost_on_the_way_in": lost_in,
        "lost_on_the_way_out": lost_out,
        "dropped_reasons": {name: risen(name) for name in _UNANSWERED if risen(name)},
    }


def _seconds(answers: Sequence[tuple[int, int]]) -> float:
    """Returns the time from the first answered image's leaving to the last answer (seconds)."""
    return (max(received for _, received in answers) - answers[0][0]) / 1e9 if answers else float("nan")


def _latencies(answers: Sequence[tuple[int, int]]) -> dict[str, list[float]]:
    """Returns when answered images left, from the first one on (s), and how long their answers took (ms); some."""
    count = min(len(answers), _POINTS)
    picked = [answers[index * len(answers) // count] for index in range(count)]
    return {
        "t_s": [(left - answers[0][0]) / 1e9 for left, _ in picked],
        "ms": [(received - left) / 1e6 for left, received in picked],
    }
