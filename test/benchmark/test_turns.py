"""Turns: who runs when and how often, and what is told of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clip_depth_ros.benchmark.turns import Spread, take_turns


def test_ways_take_turns(capsys) -> None:
    ran: list[str] = []
    ways = {name: (lambda name=name: ran.append(name)) for name in "ab"}
    taken = take_turns(ways, 3, "cpu", repeats=2, warm_ups=1)
    assert "".join(ran) == "ab" + 3 * "aabb"
    assert {name: len(values) for name, values in taken.items()} == {"a": 3, "b": 3}
    assert all(value >= 0 for values in taken.values() for value in values)
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "| round | a [ms] | b [ms] |"
    assert rows[2:] == [
        f"| {number + 1} | {1000 * taken['a'][number]:.1f} | {1000 * taken['b'][number]:.1f} |" for number in range(3)
    ]


def test_what_is_done_before_a_run_is_done_before_each_and_not_timed(monkeypatch) -> None:
    ran: list[str] = []
    clock = SimpleNamespace(perf_counter=lambda: ran.append("t") or 0.0)
    monkeypatch.setattr("clip_depth_ros.benchmark.turns.time", clock)
    take_turns({"a": lambda: ran.append("a")}, 1, "cpu", repeats=2, warm_ups=1, before=lambda: ran.append("-"))
    assert "".join(ran) == 3 * "-tat"


def test_a_spread_is_median_lowest_and_highest() -> None:
    spread = Spread.of([0.5, 0.25, 0.375, 2.0])
    assert spread == pytest.approx((0.4375, 0.25, 2.0))
    assert spread.text(1, 1e3) == "437.5 (250.0 to 2000.0)"
