"""Fixtures for every test: data that is not in this repository, and a ROS context of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("CLIP_DEPTH_SHARED", REPOSITORY.parent / "shared"))


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs {name} data: set CLIP_DEPTH_SHARED to a folder that holds {name}/")
    return folder


@pytest.fixture(scope="session")
def shared_real() -> Path:
    """Real recordings and RGB-D pairs."""
    return _shared("real")


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Reference numbers made with the authors' implementations."""
    return _shared("golden")


@pytest.fixture(scope="session")
def ros_domain_id() -> int:
    """A DDS domain for this test run alone, so that two runs on one machine do not hear each other."""
    return 1 + os.getpid() % 100


@pytest.fixture
def ros_context(ros_domain_id: int) -> Iterator[Any]:
    """An initialised rclpy context; shut down after the test."""
    rclpy = pytest.importorskip("rclpy", reason="needs rclpy: pip install 'clip_depth_ros[ros]', or source ROS 2")
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain_id)
    yield context
    rclpy.try_shutdown(context=context)
