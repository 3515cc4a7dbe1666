"""The benchmark of several heads runs, at tiny sizes, and its ratios are of what it timed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    return importlib.import_module("benchmark.several_heads")


def test_it_times_every_combination(benchmark, tmp_path: Path, capsys) -> None:
    words = ["--tiny", "--rounds", "2", "--device", "cpu", "-o", str(tmp_path / "heads.json")]
    assert benchmark.main(words) == 0
    report = json.loads((tmp_path / "heads.json").read_text())
    seconds = report["seconds"]
    assert list(seconds)[:2] == ["space_clip", "space_clip + depth_clip"]
    assert {"moa_depth_clip", "depth_blip2", "depth_clip"} < set(seconds)
    assert report["ratios"]["space_clip"] == [1.0, 1.0]
    both = [pair / alone for pair, alone in zip(seconds["space_clip + depth_clip"], seconds["space_clip"])]
    assert report["ratios"]["space_clip + depth_clip"] == both
    assert f"{1000 * seconds['depth_clip'][0]:.1f}" in capsys.readouterr().out


def test_a_combination_gives_the_depth_of_its_heads_alone(benchmark) -> None:
    ways = benchmark.ways_of(True, "cpu", "fp32")
    together = ways["space_clip + depth_clip + moa_depth_clip + depth_blip2"]()
    for name, prediction in together.items():
        assert (ways[name]()[name].depth == prediction.depth).all(), name
    # Random weights leave SPACE-CLIP's last ReLU at 0 or above by chance; the others always see the picture.
    assert all(together[name].depth.std() > 0 for name in together if name != "space_clip")
