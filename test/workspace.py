"""A colcon workspace with a clean copy of this package, and commands run in a shell that has sourced it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = "clip_depth_ros"
FILES = ("package.xml", "setup.py", "setup.cfg", "pyproject.toml", "README.md")
FOLDERS = (NAME, "clip_depth_training", "launch", "config", "models", "resource")


def build_workspace(folder: Path) -> Path:
    """Copies the package to ``folder/src`` and builds it as docs/robot.md does; skips where there is no colcon."""
    pytest.importorskip("colcon", reason="needs colcon: pip install 'clip_depth_ros[test]'")
    package = folder / "src" / NAME
    package.mkdir(parents=True)
    for name in FILES:
        shutil.copy(REPOSITORY / name, package)
    for name in FOLDERS:
        shutil.copytree(REPOSITORY / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "colcon", "build"]
    build = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert build.returncode == 0, build.stdout + build.stderr
    return folder


def start_sourced(
    workspace: Path,
    command: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    output: int | TextIO = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Starts a command after ``source install/setup.bash``, with this test's Python first in the path.

    It is its own process group, so that a signal can be sent to all of it. ``output`` takes stdout and stderr.
    """
    # As in an activated virtual environment, where the scripts' "env python3" is this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", "")])
    return subprocess.Popen(
        ["bash", "-c", f"source install/setup.bash && exec {shlex.join(command)}"],
        cwd=workspace,
        env={**environ, "PATH": path, "ROS_LOG_DIR": str(workspace / "log"), "PYTHONUNBUFFERED": "1"},
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_sourced(workspace: Path, command: Sequence[str], timeout_s: float = 60.0) -> str:
    """Runs a command to its end and returns its output; fails when it fails."""
    with start_sourced(workspace, command) as process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
    assert process.returncode == 0, output
    return output
