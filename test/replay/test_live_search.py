from __future__ import annotations

import pytest

from clip_depth_ros.replay.live_search import find_highest_rate


def _limit(limit_hz, tried):
    def holds(rate):
        tried.append(rate)
        return rate <= limit_hz

    return holds


@pytest.mark.parametrize("limit_hz", [0.3, 7.0, 23.7, 400.0])
@pytest.mark.parametrize("start_hz", [0.5, 10.0, 100.0])
def test_it_finds_the_limit_from_below_within_the_tolerance(limit_hz, start_hz):
    tried = []
    found = find_highest_rate(_limit(limit_hz, tried), start_hz, most_trials=20)
    assert limit_hz / 1.05 <= found <= limit_hz
    assert found in tried


def test_it_doubles_and_then_halves_the_ratio():
    tried = []
    found = find_highest_rate(_limit(23.7, tried), 5.0, most_trials=6)
    assert tried == pytest.approx([5.0, 10.0, 20.0, 40.0, 28.284, 23.784], abs=0.001)
    assert found == 20.0


def test_nothing_holds():
    tried = []
    assert find_highest_rate(_limit(0.0, tried), 4.0, lowest_hz=1.0) is None
    assert tried == [4.0, 2.0, 1.0]


def test_everything_holds():
    tried = []
    assert find_highest_rate(_limit(1e9, tried), 300.0, most_hz=1000.0) == 1000.0
    assert tried == [300.0, 600.0, 1000.0]


def test_it_ends_with_what_it_has_when_time_is_up():
    tried = []
    assert find_highest_rate(_limit(99.0, tried), 5.0, keep_going=lambda: len(tried) < 3) == 20.0
    assert find_highest_rate(_limit(99.0, []), 5.0, keep_going=lambda: False) == 5.0


def test_a_rate_that_is_known_to_hold_bounds_it_from_below():
    tried = []
    found = find_highest_rate(_limit(12.0, tried), 21.0, held_hz=10.0)
    assert tried[:2] == pytest.approx([21.0, 210**0.5])
    assert 12.0 / 1.05 <= found <= 12.0
    assert find_highest_rate(_limit(1.0, []), 21.0, held_hz=10.0) == 10.0
