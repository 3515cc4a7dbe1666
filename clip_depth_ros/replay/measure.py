"""How fast and how completely depth came back, measured from outside the node: images out, depth in, by stamp."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StreamMeasurement:
    """What became of a stream of images.

    Attributes:
        sent: images published.
        received: images whose depth came back.
        dropped: images without depth: overtaken by a newer one in the node, rejected by it, or lost on the way.
        unexpected: depth with a stamp no image had, or a second one with the same stamp; a node must never do so.
        sent_hz, received_hz: rate of the two streams over the time they took; NaN below two messages.
        latency_p50_s, latency_p90_s, latency_p99_s, latency_max_s, latency_p95_s: from just before an image is
            published to the receipt of its depth (seconds); NaN when nothing came back.
        jitter_p50_s, jitter_p99_s: how much longer or shorter than between two images the time between their answers
            was (seconds), for answers that came one after the other; RFC 3550's difference in transit, not smoothed.
            NaN below two answers.
    """

    sent: int
    received: int
    dropped: int
    unexpected: int
    sent_hz: float
    received_hz: float
    latency_p50_s: float
    latency_p90_s: float
    latency_p99_s: float
    latency_max_s: float
    latency_p95_s: float = float("nan")
    jitter_p50_s: float = float("nan")
    jitter_p99_s: float = float("nan")


class StreamTimes:
    """Notes when each stamp left and when it came back; one thread may send while another receives.

    Images that share a stamp (a camera that stamps with zeros) are answered in the order they were sent, as far as
    anybody can tell.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: list[int] = []
        self._open: dict[int, deque[int]] = {}
        self._answers: list[tuple[int, int]] = []  # sent and received, nanoseconds
        self._unexpected = self._slowest = 0
        self._fastest: int | None = None

    def send(self, stamp_ns: int) -> None:
        """Notes that the image with this stamp is being published now."""
        with self._lock:
            now = time.monotonic_ns()
            self._sent.append(now)
            self._open.setdefault(stamp_ns, deque()).append(now)

    def receive(self, stamp_ns: int) -> None:
        """Notes that the depth with this stamp has arrived now."""
        now = time.monotonic_ns()
        with self._lock:
            waiting = self._open.get(stamp_ns)
            if waiting:
                left = waiting.popleft()
                self._answers.append((left, now))
                self._slowest = max(self._slowest, now - left)
                self._fastest = now - left if self._fastest is None else min(self._fastest, now - left)
            else:
                self._unexpected += 1

    def knows(self, stamp_ns: int) -> bool:
        """Returns whether an image with this stamp was sent, answered or not."""
        with self._lock:
            return stamp_ns in self._open

    @property
    def answers(self) -> list[tuple[int, int]]:
        """When each answered image left and when its answer came (``time.monotonic_ns``), as the answers came."""
        with self._lock:
            return list(self._answers)

    @property
    def slowest_s(self) -> float:
        """The longest latency so far (seconds); 0 before the first answer."""
        with self._lock:
            return self._slowest / 1e9

    @property
    def fastest_s(self) -> float:
        """The shortest latency so far (seconds); 0 before the first answer."""
        with self._lock:
            return (self._fastest or 0) / 1e9

    @property
    def missing(self) -> int:
        """How many images have had no answer yet."""
        with self._lock:
            return len(self._sent) - len(self._answers)

    @property
    def idle_s(self) -> float:
        """Seconds since something was sent or came back; infinite before the first."""
        with self._lock:
            latest = max([*self._sent[-1:], *(received for _, received in self._answers[-1:])], default=None)
        return float("inf") if latest is None else (time.monotonic_ns() - latest) / 1e9

    def measured(self) -> StreamMeasurement:
        """Returns what was measured so far."""
        with self._lock:
            sent, answers, unexpected = list(self._sent), list(self._answers), self._unexpected
        latencies = np.array([received - left for left, received in answers], np.float64) / 1e9
        p50, p90, p95, p99, most = _percentiles(latencies, (50, 90, 95, 99, 100))
        # (r_i - r_(i-1)) - (s_i - s_(i-1)) is the difference of two latencies.
        jitter_p50, jitter_p99 = _percentiles(np.abs(np.diff(latencies)), (50, 99))
        return StreamMeasurement(
            sent=len(sent),
            received=len(answers),
            dropped=len(sent) - len(answers),
            unexpected=unexpected,
            sent_hz=_rate(sent),
            received_hz=_rate([received for _, received in answers]),
            latency_p50_s=p50,
            latency_p90_s=p90,
            latency_p95_s=p95,
            latency_p99_s=p99,
            latency_max_s=most,
            jitter_p50_s=jitter_p50,
            jitter_p99_s=jitter_p99,
        )


def _percentiles(values: np.ndarray, shares: tuple[int, ...]) -> list[float]:
    if not len(values):
        return [float("nan")] * len(shares)
    return [float(value) for value in np.percentile(values, shares)]


def _rate(times_ns: list[int]) -> float:
    if len(times_ns) < 2 or max(times_ns) == min(times_ns):
        return float("nan")
    return (len(times_ns) - 1) * 1e9 / (max(times_ns) - min(times_ns))
