"""What one camera's stream counts and times, for diagnostics."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_RATE_WINDOW = 5.0  # seconds a rate is averaged over
_TIMINGS_KEPT = 600  # frames the percentiles are taken over: 20 s at 30 Hz
_ARRIVALS_KEPT = 2000
_BATCHES_KEPT = 600


@dataclass(frozen=True)
class FrameTiming:
    """Where the time of one frame went, all in seconds.

    Attributes:
        wait: from the image callback's entry until the worker took the frame up.
        read: message to the array the network takes, rectification included.
        network: host picture to every head's answer, for the whole batch the frame was in.
        write: masking, conversion and publishing.
        latency: from the image callback's entry to the return of the last publish.
    """

    wait: float
    read: float
    network: float
    write: float
    latency: float

    @property
    def node_cost(self) -> float:
        """The latency without the network."""
        return self.latency - self.network


TIMES = ("latency", "node_cost", "wait", "read", "network", "write")
"""What is timed of each frame: names of :class:`FrameTiming`."""


class Rate:
    """Counts events and says how many a second there were lately."""

    def __init__(self) -> None:
        self.total = 0
        self._times: deque[float] = deque(maxlen=_ARRIVALS_KEPT)

    def count(self) -> None:
        """Counts one event, now."""
        self.total += 1
        self._times.append(time.monotonic())

    @property
    def age(self) -> float | None:
        """Seconds since the last event; None before the first."""
        return time.monotonic() - self._times[-1] if self._times else None

    def hertz(self) -> float:
        """Returns events a second over the last five seconds."""
        now = time.monotonic()
        recent = [moment for moment in self._times.copy() if now - moment <= _RATE_WINDOW]
        if len(recent) < 2:
            return len(recent) / _RATE_WINDOW
        # Intervals over the time they took; a stream that stopped decays instead of keeping its old rate.
        return (len(recent) - 1) / max(recent[-1] - recent[0], now - recent[-1], 1e-9)


class Batches:
    """Which cameras' pictures the network's latest runs held. Written by the worker, read by diagnostics."""

    def __init__(self) -> None:
        self.total = 0
        self._latest: deque[tuple[str, ...]] = deque(maxlen=_BATCHES_KEPT)

    def count(self, cameras: Iterable[str]) -> None:
        """Counts a run that held a picture of each of ``cameras``."""
        self._latest.append(tuple(cameras))
        self.total += 1

    def mean(self) -> float:
        """Returns pictures a run over the last 600 runs; NaN before the first."""
        latest = self._latest.copy()
        return sum(map(len, latest)) / len(latest) if latest else float("nan")

    def share(self, camera: str) -> float:
        """Returns the part (0..1) of the last 600 runs that held a picture of ``camera``; NaN before the first."""
        latest = self._latest.copy()
        return sum(camera in cameras for cameras in latest) / len(latest) if latest else float("nan")


class StreamCounters:
    """The numbers of one camera. Each is written by one thread alone: which one is said in brackets.

    Attributes:
        received: images that arrived [executor].
        dropped: images replaced by a newer one before the worker took them [executor].
        limited: images left out to keep to ``max_rate`` [executor].
        backward_stamps: images stamped earlier than the one before; processed [executor].
        zero_stamps: images stamped zero; processed [executor].
        skipped: images nobody subscribed to any result of [worker].
        rejected: images that could not be read [worker].
        failed: images lost to an unexpected error [worker].
        unanswered: images left alone because the network's device broke [worker].
        published: images whose results were published [worker].
        last_error: the last sentence about a bad message or an error, empty when there was none [worker].
    """

    def __init__(self) -> None:
        self.received = Rate()
        self.published = Rate()
        self.dropped = 0
        self.limited = 0
        self.backward_stamps = 0
        self.zero_stamps = 0
        self.skipped = 0
        self.rejected = 0
        self.failed = 0
        self.unanswered = 0
        self.last_error = ""
        self._timings: deque[FrameTiming] = deque(maxlen=_TIMINGS_KEPT)
        self._lock = threading.Lock()

    def finish(self, timing: FrameTiming) -> None:
        """Counts a published frame and keeps its timing."""
        with self._lock:
            self._timings.append(timing)
        self.published.count()

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """Returns p50 and p99 of each of ``TIMES`` over the last 600 published frames, in milliseconds.

        NaN before the first frame.
        """
        with self._lock:
            timings = list(self._timings)
        if not timings:
            return dict.fromkeys(TIMES, (float("nan"), float("nan")))
        rows = np.array([[getattr(timing, name) for name in TIMES] for timing in timings]) * 1e3
        half, most = np.percentile(rows, (50, 99), axis=0)
        return {name: (float(half[index]), float(most[index])) for index, name in enumerate(TIMES)}
