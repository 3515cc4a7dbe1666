"""What another process uses of the machine, sampled from outside while something is measured."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from clip_depth_ros.memory import MEBIBYTE, status_bytes
from clip_depth_ros.replay.process_gpu import GpuUse, gpu_use

_SHORTEST_S = 0.1  # the kernel counts CPU time in steps of 10 ms: over less than this a share of it is noise
_GPU_PERIOD_S = 2.0  # nvidia-smi takes CPU time itself


class ProcessLoad:
    """Samples a process's CPU time, memory and GPU in a thread while the ``with`` block runs.

    Args:
        pid: the process; all of its threads count, its children do not.
        uses_gpu: whether the process says that it computes on a GPU, for where its id is not seen there (a container).
        period_s: seconds between two samples.
    """

    def __init__(self, pid: int, uses_gpu: bool = False, period_s: float = 0.5) -> None:
        self._pid, self._uses_gpu, self._period_s = pid, uses_gpu, period_s
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(self._sample, period_s), name="load", daemon=True),
            threading.Thread(target=self._repeat, args=(self._sample_gpu, _GPU_PERIOD_S), name="gpu", daemon=True),
        ]
        self._cpu: list[tuple[float, float]] = []  # when, and CPU seconds used until then
        self._memory: list[int] = []
        self._gpu: list[GpuUse] = []

    def __enter__(self) -> ProcessLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        with suppress(OSError, ValueError, IndexError):
            self._sample()

    def values(self) -> dict[str, Any]:
        """Returns plain values; None where this machine does not tell.

        ``cpu_percent`` (mean, max): 100 is one core. ``memory_mib`` (start, end, max): resident memory, which contains
        what Fast DDS shares between processes. ``gpu``: ``utilisation_percent`` (mean, max) of the GPU it computes on,
        whoever uses it, and ``memory_mib`` (max); ``memory_of`` says whether that is the process's or the whole GPU's.
        """
        memory = [held / MEBIBYTE for held in self._memory]
        return {
            "cpu_percent": self._cpu_percent(),
            "memory_mib": {"start": memory[0], "end": memory[-1], "max": max(memory)} if memory else None,
            "gpu": self._gpu_values(),
        }

    def _cpu_percent(self) -> dict[str, float] | None:
        if len(self._cpu) < 2 or self._cpu[-1][0] - self._cpu[0][0] < _SHORTEST_S:
            return None
        pairs = [*zip(self._cpu, self._cpu[1:]), (self._cpu[0], self._cpu[-1])]
        shares = [
            100 * (later[1] - before[1]) / (later[0] - before[0])
            for before, later in pairs
            if later[0] - before[0] >= _SHORTEST_S
        ]
        return {"mean": shares[-1], "max": max(shares)}

    def _gpu_values(self) -> dict[str, Any] | None:
        if not self._gpu:
            return None
        shares = [use.utilisation_percent for use in self._gpu if use.utilisation_percent is not None]
        held = [use.memory_mib for use in self._gpu if use.memory_mib is not None]
        return {
            "utilisation_percent": {"mean": sum(shares) / len(shares), "max": max(shares)} if shares else None,
            "memory_mib": {"max": max(held)} if held else None,
            "memory_of": self._gpu[-1].memory_of,
        }

    def _repeat(self, sample: Any, period_s: float) -> None:
        while True:
            try:
                if not sample():
                    return
            except (OSError, ValueError, IndexError):
                return  # the process ended, or this machine has no /proc
            if self._stop.wait(period_s):
                return

    def _sample(self) -> bool:
        used = cpu_seconds(self._pid)
        self._cpu.append((time.monotonic(), used))
        self._memory.append(status_bytes("VmRSS", self._pid))
        return True

    def _sample_gpu(self) -> bool:
        use = gpu_use(self._pid, self._uses_gpu)
        if use is not None:
            self._gpu.append(use)
        return use is not None


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time (seconds) a process has used so far, in user and system mode, all threads together.

    Raises:
        OSError: there is no such process (any more), or no /proc.
    """
    # The second field is the program's name in brackets, which may hold anything; user and system time are 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
