"""The depth node's own main, on a device that fails once a file exists: faulty_node.py FAULT FILE --ros-args ..."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clip_depth_ros.depth.encoder import SharedEncoder
from clip_depth_ros.ros import depth_node, worker


def lose() -> None:
    """Fails as CUDA does when a kernel broke."""
    kind = getattr(torch, "AcceleratorError", RuntimeError)  # torch before 2.8 has no class of its own
    raise kind("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported at some other call.")


def hang() -> None:
    """Says so, and never returns."""
    print("hanging", flush=True)
    threading.Event().wait()


def trip() -> None:
    """Breaks a real GPU for this process: an index out of range trips an assertion in the kernel."""
    torch.zeros(4, device="cuda")[torch.tensor([9], device="cuda")].sum().item()


FAULTS = {"lose": lose, "hang": hang, "trip": trip}


def main() -> int:
    """Runs the node; returns its exit code."""
    fault, trigger = FAULTS[sys.argv[1]], Path(sys.argv[2])

    def before(module: nn.Module, _: Any) -> None:
        if isinstance(module, SharedEncoder) and trigger.exists():
            fault()

    nn.modules.module.register_module_forward_pre_hook(before)
    worker._PATIENCE = 0.5
    return depth_node.main([sys.argv[0], *sys.argv[3:]])


if __name__ == "__main__":
    sys.exit(main())
