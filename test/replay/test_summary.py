from __future__ import annotations

import json
import re

from clip_depth_ros.depth.metrics import NAMES
from clip_depth_ros.replay.accuracy import DepthAccuracy
from clip_depth_ros.replay.measure import StreamMeasurement
from clip_depth_ros.replay.summary import Summary

NAN = float("nan")
STREAM = StreamMeasurement(90, 88, 2, 0, 10.0, 9.9, 0.0412, 0.05, 0.0707, 0.09)


def _accuracy() -> DepthAccuracy:
    def values(first):
        return {name: first + index / 10 for index, name in enumerate(NAMES)}

    return DepthAccuracy(88, (0.1, 10.0), 0.987, values(0.1), values(0.2), 2.31, values(0.3), values(0.4))


def _summary(**changes) -> Summary:
    fields = {
        "bag": "rooms_bag",
        "image_size": (320, 240),
        "setting": {"device": "cpu"},
        "stream": STREAM,
        "counts": {"/camera/depth/image": 88, "/camera/depth/points": 87},
        "start_up_s": 6.54,
        "accuracy": _accuracy(),
        "truth_topic": "/camera/depth/image",
        "warnings": (),
    }
    return Summary(**{**fields, **changes})


def test_the_table_holds_every_figure():
    text = _summary().as_markdown()
    for expected in (
        "90 at 10.0 Hz",
        "88 at 9.9 Hz",
        "2 (2.2%)",
        "41 / 50 / 71 ms",
        "6.5 s",
        "0.1 to 10 m, no crop",
        "98.7%",
        "a constant 2.31 m",
        "device: cpu",
    ):
        assert expected in text, expected
    row = next(line for line in text.splitlines() if line.startswith("| as published"))
    assert re.findall(r"\d\.\d{3}", row) == ["0.100", "0.300", "0.700"]  # AbsRel, RMSE, d1


def test_rows_of_each_table_line_up():
    tables = re.findall(r"(?:^\|.*\n)+", _summary().as_markdown(), re.MULTILINE)
    assert len(tables) == 2
    for table in tables:
        assert len({len(line) for line in table.splitlines()}) == 1


def test_what_must_never_happen_is_shown_when_it_does():
    assert "without an image of its stamp" not in _summary().as_markdown()
    strange = StreamMeasurement(90, 88, 2, 3, 10.0, 9.9, 0.04, 0.05, 0.07, 0.09)
    assert re.search(r"without an image of its stamp\s*\| 3 ", _summary(stream=strange).as_markdown())


def test_without_ground_truth_it_says_so():
    text = _summary(accuracy=None, truth_topic="").as_markdown()
    assert "no ground-truth depth" in text
    assert "AbsRel" not in text


def test_json_has_the_numbers_and_null_for_those_that_do_not_exist():
    lonely = StreamMeasurement(1, 1, 0, 0, NAN, NAN, 0.04, 0.04, 0.04, 0.04)
    content = json.loads(_summary(stream=lonely).as_json())
    assert content["stream"]["sent_hz"] is None
    assert content["stream"]["latency_p50_s"] == 0.04
    assert content["accuracy"]["metric"]["abs_rel"] == 0.1
    assert content["counts"]["/camera/depth/points"] == 87
    assert "one message, no rate" in _summary(stream=lonely).as_markdown()
