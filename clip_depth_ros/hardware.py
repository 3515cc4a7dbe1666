"""What figures are measured on, and with which software."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection
from importlib import metadata
from pathlib import Path

import torch

CPU_FEATURES = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "bf16", "i8mm", "sve", "sve2"),  # ARM
)
"""What a CPU may have that decides how fast networks run on it, as /proc/cpuinfo names it."""
_PACKAGES = ("torch", "transformers", "open_clip_torch", "numpy", "rclpy", "clip_depth_ros")


def hardware() -> dict[str, str]:
    """Returns what the figures were measured on."""
    info = _cpu_info()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cpu features": " ".join(cpu_features()) or "none of note",
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 2**30:.0f} GiB",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def versions() -> dict[str, str]:
    """Returns the versions of what the figures depend on; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    found |= {name: os.environ[name] for name in ("ROS_DISTRO", "RMW_IMPLEMENTATION") if name in os.environ}
    return found


def cpu_features(info: Collection[str] | None = None) -> list[str]:
    """Returns those of :data:`CPU_FEATURES` that this CPU has, or that are among the flags ``info``."""
    if info is None:
        known = _cpu_info()
        info = (known.get("flags") or known.get("Features") or "").split()
    return [feature for feature in CPU_FEATURES if feature in info]


def _cpu_info() -> dict[str, str]:
    """Returns the fields of the first processor in /proc/cpuinfo."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields
