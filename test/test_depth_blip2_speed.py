"""The DepthBLIP-2 benchmark runs, at tiny sizes: both ways agree, and what it prints is what it measured."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", reason="the plain way's Q-Former: pip install 'clip_depth_ros[test]'")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    return importlib.import_module("benchmark.depth_blip2_speed")


def test_it_compares_speed_and_precision(benchmark, tmp_path: Path, capsys) -> None:
    words = ["--tiny", "--rounds", "2", "--pictures", "2", "--device", "cpu", "-o", str(tmp_path / "speed.json")]
    assert benchmark.main([*words, "--scale", "0.5"]) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "speed.json").read_text())
    assert report["largest_difference_m"] < 1e-4
    assert report["depth_deviation_m"] > 0.01, "equal constants would prove nothing"
    assert {name: len(values) for name, values in report["fp32_seconds"].items()} == {"plain": 2, "ours": 2}
    assert f"{report['ratio']:.2f} times faster" in printed
    assert list(report["errors_percent"]) == ["bf16 encoder", "bf16 encoder and head"]
    assert all(error["p50"] <= error["p99"] <= error["max"] for error in report["errors_percent"].values())
    assert report["errors_percent"]["bf16 encoder and head"]["max"] > 0
    assert report["settings"]["scale"] == "0.5"


def test_ways_that_differ_are_found_out(benchmark, tmp_path: Path, monkeypatch, capsys) -> None:
    build = benchmark.build

    def altered(*arguments):
        encoder, head, plain = build(*arguments)
        head.qformer.query_tokens.add_(0.1 * torch.randn(head.qformer.query_tokens.shape))
        return encoder, head, plain

    monkeypatch.setattr(benchmark, "build", altered)
    words = ["--tiny", "--rounds", "1", "--pictures", "2", "--device", "cpu", "-o", str(tmp_path / "speed.json")]
    assert benchmark.main([*words, "--scale", "0.5"]) == 1
    assert "do not give the same depth" in capsys.readouterr().err
    assert not (tmp_path / "speed.json").exists()


def test_errors_are_relative_and_in_per_cent(benchmark) -> None:
    exact = torch.full((1, 10, 10), 2.0)
    depth = exact.clone()
    depth[0, 0, 0] = 3.0
    found = benchmark.errors(depth, exact)
    assert found["p50"] == 0
    assert found["max"] == pytest.approx(50)
    assert 0 <= found["p99"] < 50
