"""Which frames are kept for the page, and how."""

from __future__ import annotations

import numpy as np
import pytest

from clip_depth_ros.replay.strip import Strip


def filled(frames: int, most: int = 8) -> Strip:
    strip = Strip(most)
    for count in range(frames):
        if strip.wants(count):
            rgb = np.full((12, 16, 3), count % 256, np.uint8)
            depth = np.full((12, 16), 1 + count / 100, np.float32)
            strip.add(count, count / 10, rgb, depth if count % 2 else None, {"space_clip": depth})
    return strip


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 64, 65, 1000])
def test_frames_are_spread_over_the_whole_recording(frames: int) -> None:
    kept = filled(frames).frames()
    assert min(frames, 4) <= len(kept) <= 8
    times = [frame.t_s for frame in kept]
    assert times[0] == 0.0
    steps = np.diff(times)
    assert np.allclose(steps, steps[:1].sum() if len(steps) else 0)
    assert frames / 10 - times[-1] <= 2 * (steps[0] if len(steps) else 1)


def test_large_pictures_are_reduced_and_depth_keeps_its_values() -> None:
    strip = Strip()
    depth = np.where(np.arange(960) < 500, np.float32(1), np.float32(4))[None].repeat(720, 0)
    depth[:10] = np.nan
    strip.add(0, 0.0, np.zeros((720, 960, 3), np.uint8), depth, {"a": depth})
    (frame,) = strip.frames()
    assert frame.rgb.shape == (360, 480, 3)
    assert frame.truth is not None
    assert frame.truth.dtype == np.float32
    assert frame.truth.shape == (360, 480)
    assert set(np.unique(frame.truth[20:])) == {1.0, 4.0}  # no mean over the edge
    assert np.isnan(frame.truth[:5]).all()


def test_of_a_sparse_truth_every_block_with_a_reading_has_one() -> None:
    strip = Strip()
    truth = np.full((720, 960), np.nan, np.float32)
    truth[1::40, 1::40] = 3.0
    truth[0, 0] = 2.0
    strip.add(0, 0.0, np.zeros((720, 960, 3), np.uint8), truth, {})
    (frame,) = strip.frames()
    assert frame.truth is not None
    assert np.isfinite(frame.truth).sum() == 18 * 24
    assert frame.truth[0, 0] == 2.0


def test_it_goes_on_where_it_was() -> None:
    whole, first = filled(100), filled(50)
    second = Strip(8)
    second.restore({name: np.asarray(value) for name, value in first.state().items()})
    for count in range(50, 100):
        if second.wants(count):
            depth = np.full((12, 16), 1 + count / 100, np.float32)
            truth = depth if count % 2 else None
            second.add(count, count / 10, np.full((12, 16, 3), count % 256, np.uint8), truth, {"space_clip": depth})
    assert len(second.frames()) == len(whole.frames())
    for one, other in zip(second.frames(), whole.frames()):
        assert one.t_s == other.t_s
        assert np.array_equal(one.rgb, other.rgb)
        assert (one.truth is None) == (other.truth is None)
        assert np.array_equal(one.depths["space_clip"], other.depths["space_clip"])
