"""How much memory a process holds, as Linux tells it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MEBIBYTE = float(1 << 20)
_RESET_PEAK = "5"  # to clear_refs: the peak begins anew at what is held now (Linux 4.0)


def status_bytes(field: str, process: int | str = "self") -> int:
    """Returns a field of /proc/PID/status in bytes, such as ``VmRSS`` (resident) or ``VmHWM`` (its peak).

    Raises:
        OSError: there is no such process (any more).
    """
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0


def peak_growth(call: Callable[[], object]) -> int:
    """Returns by how many bytes this process's resident memory rose at most while ``call`` ran."""
    gc.collect()
    before = status_bytes("VmRSS")
    with suppress(OSError):  # a container may forbid it: then only what exceeds the peak so far is seen
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    before = max(before, status_bytes("VmHWM"))
    call()
    return max(0, status_bytes("VmHWM") - before)
