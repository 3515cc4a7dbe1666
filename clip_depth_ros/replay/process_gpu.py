"""What a process uses of an NVIDIA GPU, as ``nvidia-smi`` tells it; nothing where there is none."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class GpuUse:
    """One sample; None where the driver does not tell.

    Attributes:
        utilisation_percent: share of time in which the GPU ran something, of whichever process.
        memory_mib: memory held there.
        memory_of: ``process`` or ``gpu``: whose memory that is.
    """

    utilisation_percent: float | None
    memory_mib: float | None
    memory_of: str


def gpu_use(pid: int, uses_gpu: bool = False) -> GpuUse | None:
    """Returns what process ``pid`` uses of the GPUs it computes on; None when it uses none, or nobody can tell.

    Args:
        pid: the process.
        uses_gpu: whether it is known to compute on a GPU. In a container the driver sees other process ids than we do:
            then a machine's only GPU is taken for its.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    gpus = {row[0]: row[1:] for row in _query(program, "--query-gpu=uuid,utilization.gpu,memory.used") if len(row) == 3}
    if not gpus:
        return None
    rows = _query(program, "--query-compute-apps=pid,gpu_uuid,used_gpu_memory")
    mine = [row for row in rows if len(row) == 3 and row[0] == str(pid) and row[1] in gpus]
    if mine:
        return GpuUse(_largest([gpus[row[1]][0] for row in mine]), _sum([row[2] for row in mine]), "process")
    if uses_gpu and len(gpus) == 1:
        utilisation, memory = next(iter(gpus.values()))
        return GpuUse(_number(utilisation), _number(memory), "gpu")
    return None


def _query(program: str, query: str) -> list[list[str]]:
    try:
        answer = subprocess.run(
            [program, query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if answer.returncode:
        return []
    return [[cell.strip() for cell in line.split(",")] for line in answer.stdout.splitlines() if line.strip()]


def _number(text: str) -> float | None:
    """Returns a cell's number; None for ``[N/A]`` and the like."""
    try:
        return float(text)
    except ValueError:
        return None


def _largest(cells: list[str]) -> float | None:
    numbers = [number for cell in cells if (number := _number(cell)) is not None]
    return max(numbers, default=None)


def _sum(cells: list[str]) -> float | None:
    numbers = [number for cell in cells if (number := _number(cell)) is not None]
    return sum(numbers) if numbers else None
