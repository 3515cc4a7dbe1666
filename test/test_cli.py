"""The command line's manners."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clip_depth_ros.cli import COMMANDS, main

SCRIPT = """
import sys
from clip_depth_ros.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print("MODULES", *sorted(sys.modules))
sys.exit(code)
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command: str) -> None:
    done = run(*([command] if command else []), "--help")
    assert done.returncode == 0, done.stderr
    modules = done.stdout.split("MODULES")[1].split()
    assert not {"torch", "open_clip", "cv2", "rclpy"} & set(modules)
    assert "usage: clip-depth" in done.stdout


def test_help_lists_every_command() -> None:
    listed = run("--help").stdout
    assert all(name in listed for name in COMMANDS)


@pytest.mark.parametrize("words", [[], ["fly"], ["info"], ["info", "a", "b"]])
def test_wrong_usage_exits_with_2(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert "usage" in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_input_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "absent.safetensors"]) == 2
    assert capsys.readouterr().err == "clip-depth info: The weight file absent.safetensors does not exist.\n"
