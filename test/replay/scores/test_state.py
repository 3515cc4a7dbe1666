from __future__ import annotations

import numpy as np
import pytest

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.scores import Scores

LIMITS = (0.5, 10.0)
RAYS = CameraModel.pinhole(50, 41, 40, 40, 25, 20).rays()


def _add(scores, frames, first=0):
    for number, (prediction, truth, rgb) in enumerate(frames, first):
        scores.add(number / 3, prediction, truth, rgb, RAYS)
    return scores


def _still(frames):
    """The frames with one picture, so that there is flicker; one of them without truth."""
    picture = frames[0][2]
    return [
        (prediction, truth if number != 3 else None, picture) for number, (prediction, truth, _) in enumerate(frames)
    ]


@pytest.mark.parametrize("stop", range(7))
def test_stopped_and_resumed_gives_the_very_same(frames, tmp_path, stop):
    frames = _still(frames)
    whole = _add(Scores(LIMITS), frames)
    np.savez(tmp_path / "scores.npz", **_add(Scores(LIMITS), frames[:stop]).state())
    with np.load(tmp_path / "scores.npz", allow_pickle=False) as stored:
        resumed = Scores.from_state(stored)
    _add(resumed, frames[stop:], stop)
    assert resumed.accuracy() == whole.accuracy()
    assert resumed.frames() == whole.frames()
    assert whole.accuracy()["flicker"] is not None
    states = whole.state(), resumed.state()
    assert states[0].keys() == states[1].keys()
    assert all(np.array_equal(states[0][key], states[1][key], equal_nan=True) for key in states[0])


def test_a_state_does_not_change_with_what_comes_after(frames):
    scores = _add(Scores(LIMITS), frames[:2])
    state = scores.state()
    copies = {key: array.copy() for key, array in state.items()}
    expected = scores.accuracy()
    _add(scores, frames[2:], 2)
    _add(Scores.from_state(state), frames[2:], 2)
    assert all(np.array_equal(state[key], copies[key], equal_nan=True) for key in state)
    assert Scores.from_state(state).accuracy() == expected


def test_memory_grows_by_a_few_numbers_a_frame(frames):
    def size(scores):
        return sum(array.nbytes for array in scores.state().values())

    scores = _add(Scores(LIMITS), _still(frames))
    first = size(scores)
    _add(scores, _still(frames), 6)
    assert size(scores) - first <= 6 * 12 * 8


def test_another_state_is_refused(frames):
    state = _add(Scores(LIMITS), frames[:1]).state()
    with pytest.raises(BadInput, match="another version"):
        Scores.from_state({})
    with pytest.raises(BadInput, match="another version"):
        Scores.from_state(state | {"format": np.array(2)})
    with pytest.raises(BadInput, match=r"'bins'.*another version"):
        Scores.from_state(state | {"constant.bins": np.zeros(3)})
    for absent in ("range_m", "frames", "sums", "flicker.measured"):
        with pytest.raises(BadInput, match="another version"):
            Scores.from_state({key: array for key, array in state.items() if key != absent})
