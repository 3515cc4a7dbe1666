"""The benchmark of the messages runs, at a tiny size, and times the messages it says."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: pip install 'clip_depth_ros[ros]', or source ROS 2")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    return importlib.import_module("benchmark.message_path")


def test_it_compares_every_step_with_a_copy(benchmark, tmp_path: Path, capsys) -> None:
    output = tmp_path / "messages.json"
    assert benchmark.main(["--size", "48x64", "--rounds", "2", "--repeats", "1", "-o", str(output)]) == 0
    printed = capsys.readouterr().out
    for kind in ("warm", "cold"):
        steps = json.loads(output.read_text())[kind]
        assert {"read rgb8", "depth 32FC1", "cloud", "colour"} < set(steps)
        for of in steps.values():
            assert of["ratio"] == [own / copied for own, copied in zip(of["seconds"], of["copy"])]
        assert f"| {kind} | cloud |" in printed


def test_a_step_produces_the_bytes_it_is_compared_by(benchmark) -> None:
    steps = benchmark.steps_of(48, 64)
    for name in ("depth 16UC1", "cloud", "cloud with the edge filter", "cloud, finite points only"):
        run, size = steps[name]
        assert len(run().data) == size, name
    for name in ("read rgb8", "read bgr8"):
        run, size = steps[name]
        assert run().nbytes == size
    np.testing.assert_array_equal(steps["read rgb8"][0](), steps["read bgr8"][0]()[..., ::-1])


def test_the_scene_has_pixels_out_of_range(benchmark) -> None:
    depth, _ = benchmark.scene(48, 64)
    assert 0 < (depth > 10).mean() < 0.5
