"""Which depth belongs to which picture: stamps and answers written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.ground_truth.pairing import held_out, pair, spaced


def _ms(*values: float) -> np.ndarray:
    return np.array([round(value * 1e6) for value in values], np.int64)


def test_the_nearest_in_time_and_each_once():
    pictures = _ms(0, 33, 66, 100, 133, 400)
    scans = _ms(2, 101, 250)
    pairs = pair(pictures, scans, 0.040)
    # 0 and 33 are both nearest to 2, 66, 100 and 133 to 101: the nearest picture of each has it.
    assert (pairs.pictures.tolist(), pairs.partners.tolist()) == ([0, 3], [0, 1])
    assert (pairs.lonely, pairs.shared) == (1, 3)


def test_the_tolerance_is_inclusive_and_no_longer():
    assert pair(_ms(0), _ms(20), 0.02).pictures.tolist() == [0]
    with pytest.raises(BadInput, match=r"within 0\.0199 s: the nearest two header stamps are 0\.020 s apart"):
        pair(_ms(0), _ms(20), 0.0199)


def test_measurements_before_and_after_all_pictures():
    pairs = pair(_ms(100, 200), _ms(-50, 99, 201, 900), 0.01)
    assert (pairs.pictures.tolist(), pairs.partners.tolist()) == ([0, 1], [1, 2])


def test_spacing_forgives_jitter():
    times = _ms(0, 99, 201, 301, 399.9, 499, 598, 702)
    assert spaced(times, 0.2).tolist() == [0, 2, 4, 6]
    assert spaced(times, 0).tolist() == list(range(8))


def test_the_end_of_the_recording_is_held_out():
    times = np.arange(0, 101, 5) * 1_000_000_000  # 100 s
    before, after = held_out(times, 0.2, 2.0)
    assert (times[before] / 1e9).max() == 75
    assert (times[after] / 1e9).min() == 80
    before, after = held_out(times, 0.2, 8.0)
    assert (times[before] / 1e9).max() == 70
    assert (~before & ~after).sum() == 1
