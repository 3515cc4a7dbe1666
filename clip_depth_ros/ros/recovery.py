"""Runs the network for the worker, and goes on when its device runs out of memory, or stops when that breaks."""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from rclpy.impl.rcutils_logger import RcutilsLogger

from clip_depth_ros.depth.estimator import DepthResult
from clip_depth_ros.errors import BadInput
from clip_depth_ros.ros.counters import Batches
from clip_depth_ros.ros.diagnostics import ERROR, WARN, Remark
from clip_depth_ros.ros.frames import Job
from clip_depth_ros.ros.network import Network

RETRY_AFTER = 30.0  # seconds without a shortage of memory until a larger batch is tried again
_RETRY_AFTER_MOST = 480.0  # a retry in vain doubles the time to the next: each costs what the device keeps ready
_HANGING = 10.0  # seconds in one run after which the device is said to hang
_TRACES_KEPT = 100  # different errors whose traceback is logged

# torch has one class for what its own allocator cannot serve; libraries and the driver say it in their own words.
_MEMORY_SIGNS = ("out of memory", "_STATUS_ALLOC_FAILED", "can't allocate memory")
_DEVICE_SIGNS = ("CUDA error", "CUDA driver error")
_DEVICE_ERRORS = (torch.AcceleratorError,) if hasattr(torch, "AcceleratorError") else ()


class OutOfMemory(RuntimeError):
    """Not even one picture fits into the device's memory; the message is one sentence."""


class DeviceLost(RuntimeError):
    """The device broke and answers nothing any more in this process; the message is one sentence."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether ``error`` says that the network's device, or the host, has no memory left for a run."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _MEMORY_SIGNS)


def is_device_error(error: Exception) -> bool:
    """Whether ``error`` comes from CUDA itself (torch 2.8 and later have a class for that), not for want of memory."""
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, _DEVICE_ERRORS) or str(error).startswith(_DEVICE_SIGNS)


def _brief(error: Exception) -> str:
    """Returns what an error says first: torch adds paragraphs of advice and figures."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ". ".join(first.split(". ")[:2]).rstrip(".")


def _no_room(device: str, what: str) -> str:
    return (
        f"not even one picture fits into the memory of {device} ({what}): take a smaller encoder.input_size, another "
        "precision or fewer heads, or end what else fills it"
    )


def _broken(device: str, what: str) -> str:
    return f"{device} does not work any more ({what}): restart this process; dmesg and nvidia-smi may say why"


@contextmanager
def device_trouble_explained(device: str) -> Iterator[None]:
    """Turns a device without memory, or a broken one, into BadInput, while a node is configured.

    Raises:
        BadInput: the code inside failed for one of these; the message is one sentence.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise BadInput(f"{_no_room(device, _brief(error))}.") from error
        if is_device_error(error):
            raise BadInput(f"{_broken(device, _brief(error))}.") from error
        raise


@dataclass
class BatchLimit:
    """How many pictures go into one run of the network: all, until the device's memory says otherwise.

    Times are ``time.monotonic`` seconds.

    Attributes:
        size: most pictures in one run; 0 for no limit.
        target: the most that failed: with that many in one run again, there is no limit any more.
    """

    size: int = 0
    target: int = 0
    _retry_at: float = 0.0
    _pause: float = 0.0

    def next_run(self, count: int, now: float) -> int:
        """Returns how many of ``count`` waiting pictures to run now: runs as even, and as few, as may be."""
        if self.size == 0:
            return count
        most = min(2 * self.size, self.target) if now > self._retry_at else self.size
        return math.ceil(count / math.ceil(count / most))

    def failed(self, count: int, now: float) -> None:
        """Takes down that there was no memory for ``count`` (2 or more) pictures in one run."""
        was_retry = 0 < self.size < count
        self.target = max(self.target, count)
        self.size = self.size if was_retry else math.ceil(count / 2)
        self._pause = min(2 * self._pause, _RETRY_AFTER_MOST) if was_retry else RETRY_AFTER
        self._retry_at = now + self._pause

    def worked(self, count: int, now: float) -> bool:
        """Takes down that ``count`` pictures ran at once; returns whether that ended the limit."""
        if not 0 < self.size < count:
            return False
        self.size, self._pause, self._retry_at = count, RETRY_AFTER, now + RETRY_AFTER
        if count < self.target:
            return False
        self.size = self.target = 0
        return True


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes:
        job: the picture.
        result: the network's; or the error that it was lost to.
        seconds: the time of the run it was in.
    """

    job: Job
    result: DepthResult | Exception
    seconds: float = 0.0


class NetworkRunner:
    """Runs the network for the newest pictures, as many at once as there is memory for, while its device works.

    One camera's pictures never spoil the others': a batch that fails is run one by one, and a camera whose picture
    failed then runs apart from the batch until one of its pictures works.

    :meth:`run` belongs to the worker's thread; everything else may be asked by others.

    Attributes:
        lost: what to say of the device since it broke; empty while it works.
        batches: what the runs held.
    """

    def __init__(self, network: Network, logger: RcutilsLogger) -> None:
        """``logger`` is the node's."""
        self.lost = ""
        self.batches = Batches()
        self._network = network
        self._logger = logger
        self._limit = BatchLimit()
        self._shortages = 0
        self._apart: set[str] = set()
        self._traced: set[str] = set()
        self._started: float | None = None

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Returns what became of each job, in no particular order; in one run of the network where that can be."""
        now, before = time.monotonic(), replace(self._limit)
        outcomes: list[Outcome] = []
        queue = deque(job for job in jobs if job.camera.stream.name not in self._apart)
        apart = [job for job in jobs if job.camera.stream.name in self._apart]
        while queue:
            part = [queue.popleft() for _ in range(self._limit.next_run(len(queue), now))]
            done = self._run_part(part, now)
            if done is None:
                queue.extendleft(reversed(part))
            else:
                outcomes += done
        outcomes += [self._run_one(job) for job in apart]
        if any(isinstance(outcome.result, OutOfMemory) for outcome in outcomes):
            self._limit = before  # a picture that does not even fit alone says nothing of how many others do
        elif self._limit.size and (before.size == 0 or self._limit.size < before.size):
            self._logger.warning(f"{self._limit_sentence()}.")
        return outcomes

    def remarks(self) -> list[Remark]:
        """Returns what is to be said of the device."""
        if self.lost:
            return [Remark(ERROR, self.lost)]
        if (busy := self.busy) > _HANGING:
            sentence = f"{self._network.device_name} has been at one batch for {busy:.0f} s: if it hangs, restart this "
            return [Remark(ERROR, f"{sentence}process; dmesg and nvidia-smi may say why")]
        return [Remark(WARN, self._limit_sentence())] if self._limit.size else []

    def values(self) -> dict[str, str]:
        """Returns what to show of the batches, and of the device while it can be asked without waiting for it."""
        shown = {} if self.lost or self.busy > _HANGING else self._network.values()
        return {
            **shown,
            "batches": str(self.batches.total),
            "pictures a batch": f"{self.batches.mean():.2f}",
            "most pictures a batch": str(self._limit.size or "no limit"),
            "times out of memory": str(self._shortages),
        }

    @property
    def busy(self) -> float:
        """Seconds the network has been at its present run; 0 between runs."""
        started = self._started
        return 0.0 if started is None else time.perf_counter() - started

    def _limit_sentence(self) -> str:
        limit = self._limit
        pictures = "1 picture" if limit.size == 1 else f"{limit.size} pictures"
        return (
            f"{self._network.device_name} has memory for {pictures} in one run, not for {limit.target}: the cameras "
            "take turns, and more are tried now and then"
        )

    def _run_part(self, jobs: Sequence[Job], now: float) -> list[Outcome] | None:
        """Runs pictures at once, or one by one if that fails; None if they must be run in smaller parts."""
        if len(jobs) == 1:
            return [self._run_one(jobs[0])]
        outcomes, error = self._attempt(jobs)
        if not error:
            if self._limit.worked(len(jobs), now):
                name = self._network.device_name
                self._logger.info(f"{name} has memory for {len(jobs)} pictures in one run again.")
            return outcomes
        if isinstance(error, OutOfMemory):
            self._limit.failed(len(jobs), now)
            self._network.free_memory()
            return None
        return [self._run_one(job) for job in jobs]

    def _run_one(self, job: Job) -> Outcome:
        outcomes, error = self._attempt([job])
        if isinstance(error, OutOfMemory):
            self._network.free_memory()  # what is kept ready for other runs may be all that is missing
            outcomes, error = self._attempt([job])
        if error:
            self._apart.add(job.camera.stream.name)
            return Outcome(job, error)
        self._apart.discard(job.camera.stream.name)
        return outcomes[0]

    def _attempt(self, jobs: Sequence[Job]) -> tuple[list[Outcome], Exception | None]:
        """Returns the outcomes of one run, or why it failed."""
        if self.lost:
            return [], DeviceLost(self.lost)
        self._started = started = time.perf_counter()
        try:
            results = self._network.run(
                [job.picture.image for job in jobs],
                [job.picture.camera for job in jobs],
                tokens=any(job.wanted.clip for job in jobs),
                heads=_heads(jobs),
                clouds=[job.clouds for job in jobs],
                outside=[job.picture.outside for job in jobs],
            )
        except Exception as error:
            return [], self._judge(error, len(jobs))
        finally:
            self._started = None
        seconds = time.perf_counter() - started
        self.batches.count(job.camera.stream.name for job in jobs)
        return [Outcome(job, result, seconds) for job, result in zip(jobs, results)], None

    def _judge(self, error: Exception, count: int) -> Exception:
        """Returns what a failed run of ``count`` pictures means."""
        device = self._network.device_name
        if is_out_of_memory(error):
            self._shortages += 1
            # A new exception: through its traceback the old one holds what fills the memory.
            return OutOfMemory(_no_room(device, _brief(error)))
        if is_device_error(error) and not self._network.device_answers():
            self.lost = _broken(device, _brief(error))
            self._logger.error(f"{self.lost}. No more images are processed.")
            return DeviceLost(self.lost)
        what = f"{type(error).__name__}: {_brief(error)}"
        if count > 1 and what not in self._traced and len(self._traced) < _TRACES_KEPT:
            self._traced.add(what)
            self._logger.warning(f"A batch failed, so its pictures run one by one:\n{traceback.format_exc()}")
        traceback.clear_frames(error.__traceback__)  # and with them the failed run's tensors
        return error


def _heads(jobs: Sequence[Job]) -> Collection[str]:
    return {head for job in jobs for head in job.wanted.heads}
