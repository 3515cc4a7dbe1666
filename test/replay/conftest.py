"""Fixtures of the replay tests: a recording, and processes that talk DDS to the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from recordings import camera_messages, write_bag


@pytest.fixture
def camera_bag(tmp_path: Path) -> Path:
    """A bag of four frames (mcap, not compressed)."""
    return write_bag(tmp_path / "camera_bag", camera_messages())


@pytest.fixture
def dds_environment(ros_domain_id: int) -> dict[str, str]:
    """The environment of a process that exchanges images with this test over DDS."""
    fastdds = pytest.importorskip("clip_depth_ros.ros.fastdds")
    return {**os.environ, **fastdds.profile_environment(os.environ), "ROS_DOMAIN_ID": str(ros_domain_id)}


def _hear_interrupts() -> None:
    """A shell has what it runs in the background ignore SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python processes for a test and ends those that are still there after it."""
    started: list[subprocess.Popen[str]] = []

    def start(arguments: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_interrupts,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
