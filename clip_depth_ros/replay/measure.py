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
        latency_p50_s, latency_p90_s, latency_p99_s, latency_max_s: from just before an image is published to the
            receipt of its depth (seconds); NaN when nothing came back.
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
        self._unexpected = 0

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
                self._answers.append((waiting.popleft(), now))
            else:
                self._unexpected += 1

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
        p50, p90, p99, most = np.percentile(latencies, (50, 90, 99, 100)) if answers else [float("nan")] * 4
        return StreamMeasurement(
            sent=len(sent),
            received=len(answers),
            dropped=len(sent) - len(answers),
            unexpected=unexpected,
            sent_hz=_rate(sent),
            received_hz=_rate([received for _, received in answers]),
            latency_p50_s=float(p50),
            latency_p90_s=float(p90),
            latency_p99_s=float(p99),
            latency_max_s=float(most),
        )


def _rate(times_ns: list[int]) -> float:
    if len(times_ns) < 2 or max(times_ns) == min(times_ns):
        return float("nan")
    return (len(times_ns) - 1) * 1e9 / (max(times_ns) - min(times_ns))
