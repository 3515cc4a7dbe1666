"""The benchmark of reading runs, on a recording it makes, and says the ratio of what it measured."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest


def test_reading_is_set_against_the_estimator(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    benchmark = importlib.import_module("benchmark.replay_reading")
    assert benchmark.main(["--frames", "12", "--size", "48x64", "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    reader, estimator, ratio = (
        float(re.search(rf"{name}: ([0-9.]+)", said)[1]) for name in ("reader", "estimator", "ratio")
    )
    assert ratio == pytest.approx(reader / estimator, rel=0.05)
    assert "MiB" in said
