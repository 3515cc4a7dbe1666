"""What the tests of the benchmark share: running a part, and reading what it wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from clip_depth_ros.cli import main


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny networks on a busy machine: threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def read_outcome() -> Callable[[Path, str, str], dict[str, Any]]:
    """Reads what a part wrote into a folder, after a look at what every part writes and prints."""
    return _read_outcome


def _read_outcome(folder: Path, part: str, printed: str) -> dict[str, Any]:
    report = json.loads((folder / f"{part}.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert {"cpu", "cpu features", "cores", "gpu", "memory"} <= set(report["hardware"])
    assert {"python", "torch", "numpy", "transformers"} <= set(report["versions"])
    assert report["threads"] == 1
    assert report["settings"]["part"] == part
    assert "run" not in report["settings"]
    table = (folder / f"{part}.md").read_text()
    assert report["title"] in table
    assert report["title"] in printed
    for rows in report["tables"]:
        for row in rows["rows"]:
            assert len(row) == len(rows["header"])
            line = "| " + " | ".join(row) + " |"
            assert line in table
            assert line in printed
    plot = cv2.imread(str(folder / f"{part}.png"))
    assert plot is not None
    assert min(plot.shape[:2]) > 300
    assert len(np.unique(plot.reshape(-1, 3), axis=0)) > 10
    return report


@pytest.fixture
def measure(tmp_path: Path, capsys) -> Callable[..., dict[str, Any]]:
    """Runs ``clip-depth benchmark PART`` in this process, on the CPU, and returns its JSON."""

    def run(part: str, *words: str) -> dict[str, Any]:
        code = main(["benchmark", part, "--device", "cpu", "--threads", "1", "-o", str(tmp_path), *words])
        told = capsys.readouterr()
        assert code == 0, told.err
        return _read_outcome(tmp_path, part, told.out)

    return run
