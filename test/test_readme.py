"""The README says what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from clip_depth_ros.cli import COMMANDS
from clip_depth_ros.resources import share_path

README = share_path("README.md").read_text(encoding="utf-8")


def test_the_parameters_table_is_the_codes() -> None:
    pytest.importorskip("rclpy")
    from clip_depth_ros.ros.parameters import parameter_table

    table = re.search(r"<!-- parameters: .*?-->\n(.*?)<!-- end of parameters -->", README, re.DOTALL)
    assert table is not None
    assert table[1].strip() == parameter_table().strip()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert share_path(target).exists(), target


def test_commands_exist() -> None:
    used = set(re.findall(r"clip-depth ([a-z-]+)", README))
    assert used, "the README shows no command"
    assert used <= COMMANDS.keys()
    makefile = share_path("Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_launch_arguments_exist() -> None:
    launch_file = share_path("launch/clip_depth.launch.py").read_text(encoding="utf-8")
    for line in re.findall(r"^ros2 launch clip_depth_ros clip_depth.launch.py (.*)$", README, re.MULTILINE):
        for word in shlex.split(line):
            assert f'"{word.partition(":=")[0]}":' in launch_file, word


def test_the_python_lines_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    scope: dict[str, object] = {"images": np.zeros((2, 48, 64, 3), np.uint8)}
    monkeypatch.chdir(Path(share_path(".")))
    exec(code[1], scope)
    result = scope["result"]
    assert result["space_clip"].depth.shape == (2, 48, 64)  # type: ignore[index]
