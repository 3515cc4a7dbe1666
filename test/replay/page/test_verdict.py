from __future__ import annotations

import pytest

from clip_depth_ros.replay.page.verdict import best_live_run, verdict


def _with(report, metric, scaled, flat=0.5, flat_scaled=0.45):
    accuracy = report["runs"][0]["accuracy"]
    accuracy["metric"]["abs_rel"], accuracy["median_scaled"]["abs_rel"] = metric, scaled
    accuracy["constant"]["metric"]["abs_rel"] = flat
    accuracy["constant"]["median_scaled"]["abs_rel"] = flat_scaled
    return verdict(report)


@pytest.mark.parametrize(
    ("metric", "scaled", "level", "sentence"),
    [
        (0.2, 0.15, "good", "space_clip makes 60 % less error"),
        (0.2, 0.44, "mixed", "in metres, not in shape"),
        (0.6, 0.15, "mixed", "space_clip makes 20 % more error"),
        (0.51, 0.44, "bad", "space_clip makes about the same error"),
    ],
)
def test_depth_is_judged_by_a_constant(report, metric, scaled, level, sentence):
    found = _with(report, metric, scaled)
    assert found.level == level
    assert sentence in " ".join([found.headline, *found.sentences])


def test_the_sentences_name_the_figures(report):
    text = " ".join(_with(report, 0.2, 0.15).sentences)
    for expected in (
        "AbsRel 0.200; 3 images, 0.1 to 10 m, no crop",
        "2.50 m, the median of this very ground truth",
        "AbsRel is 0.150, a constant's 0.450: 67 % less error",
        "Only 90.0 % of the pixels with truth have a prediction",
        "12 % too near in the median image (predicted / true 0.88; 8 of 10 images: 0.8 to 0.95)",
        "worst with dark: AbsRel 0.300, +50 %",
        "12.5 images/s in batches of 4",
    ):
        assert expected in text, expected
    assert "a minute" not in text, "a drift a minute of one second says nothing"


def test_a_drift_is_told_of_a_long_recording(report):
    report["runs"][0]["frames"]["t_s"] = [0.0, 20.0, 40.0]
    assert "drifting by +2.0 % a minute" in " ".join(verdict(report).sentences)


def test_several_heads_are_ranked(report):
    report["runs"][1] |= {"head": "depth_clip", "condition": "as recorded"}
    text = " ".join(verdict(report).sentences)
    assert (
        "Of the 2 heads on the recording as it is, space_clip has the lowest AbsRel: 0.200 (depth_clip 0.300)." in text
    )
    assert "worst" not in text


def test_what_was_not_measured(report, blind_report):
    assert "holds no ground truth" in verdict(blind_report).sentences[0]
    report["runs"][0]["accuracy"] = None
    assert verdict(report).level == "unknown"
    assert "could be compared" in verdict(report).sentences[0]
    assert verdict({**report, "runs": []}).headline == "Nothing was measured"


def test_live_is_told_at_the_highest_rate_without_a_drop(live_report):
    assert best_live_run(live_report["live"])["rate"] == 2.0
    assert "20 Hz is the highest tested rate without a drop: latency p50 41 ms, p99 77 ms" in " ".join(
        verdict(live_report).sentences
    )
    live_report["live"]["highest_rate_hz"] = None
    assert "no tested rate was without drops: of 10 Hz offered 9.8 Hz came back" in " ".join(
        verdict(live_report).sentences
    )
