"""How a node is started as a process of its own, with nobody else in its DDS domain."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from clip_depth_ros.replay.live_topics import NAMESPACE


def node_command(config: Path, device: str = "", heads: Sequence[str] = (), compressed: bool = False) -> list[str]:
    """Returns the command line that starts the node in the namespace ``/camera``.

    Args:
        config: ROS parameter file.
        device: instead of the file's; empty leaves it.
        heads: instead of the file's; none leaves them.
        compressed: whether images come compressed.
    """
    command = [sys.executable, "-m", "clip_depth_ros.ros.depth_node", "--ros-args", "--params-file", str(config)]
    command += ["-r", f"__ns:={NAMESPACE}", "-p", "autostart:=true"]
    command += ["-p", f"device:={device}"] if device else []
    command += ["-p", f"heads:={list(heads)}"] if heads else []
    command += ["-p", "image_transport:=compressed"] if compressed else []
    return command


def own_domain_id() -> int:
    """Returns a DDS domain for what this process starts, which hardly another process has."""
    return 1 + os.getpid() % 100


def node_environment(environ: Mapping[str, str], domain_id: int) -> dict[str, str]:
    """Returns ``environ`` with this run's own DDS domain, on this machine alone, and the profile images need."""
    from clip_depth_ros.ros.fastdds import profile_environment

    return {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        **environ,
        **profile_environment(environ),
        "ROS_DOMAIN_ID": str(domain_id),
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into exceptions meanwhile, so that the node's process is ended on the way out."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
