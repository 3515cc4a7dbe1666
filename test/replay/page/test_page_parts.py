from __future__ import annotations

import json
import re

import numpy as np
import pytest

from clip_depth_ros.depth.metrics import NAMES
from clip_depth_ros.replay.page.charts import Reference, Series, bars, curves, histogram, rows
from clip_depth_ros.replay.page.markup import Markup, tag
from clip_depth_ros.replay.page.plain import as_json, plain, script_json
from clip_depth_ros.replay.page.text import DASH, METRICS, count, number, percent, rate_name, run_key, short, span


def test_text_is_escaped_and_markup_is_not():
    element = tag("p", "<b>&", Markup("<i>x</i>"), None, [1, "'\""], title='"<', hidden=True, open=False, data_run="1")
    assert element == '<p title="&quot;&lt;" hidden data-run="1">&lt;b&gt;&amp;<i>x</i>1&#x27;&quot;</p>'
    assert tag("img", alt="") == '<img alt="">'


def test_json_has_no_nan_and_numbers_of_python():
    value = {"a": float("nan"), "b": [np.float32(0.5), np.int64(3), np.float64("inf"), True, None, "x"], "c": {}}
    content = plain(value)
    assert content == {"a": None, "b": [0.5, 3, None, True, None, "x"], "c": {}}
    assert json.loads(as_json(content)) == content
    assert '"b": [0.5, 3, null, true, null, "x"]' in as_json(content), "a list of numbers is one line"
    with pytest.raises(TypeError, match="ndarray"):
        plain({"a": np.zeros(2)})


def test_json_in_a_script_cannot_end_it():
    hostile = {"a": "</script><script>alert(1)</script><!-- & \u2028"}
    text = script_json(hostile)
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == hostile


def test_every_metric_has_a_name():
    assert tuple(metric.key for metric in METRICS) == NAMES
    assert [metric.key for metric in METRICS if not metric.lower_is_better] == ["a1", "a2", "a3"]


def test_numbers_as_people_read_them():
    assert [number(0.12345), number(None), number(float("nan")), number(True)] == ["0.123", DASH, DASH, DASH]
    assert [short(0.123456), short(1234.6), short(20.0), short(0), short(1.5e9)] == [
        "0.123",
        "1,230",
        "20",
        "0",
        "1.5e+09",
    ]
    assert [percent(0.125, 1), percent(0.0001, 1), percent(0), percent(None)] == ["12.5 %", "< 0.1 %", "0 %", DASH]
    assert [count(12345.0), count(None)] == ["12,345", DASH]
    assert [span(0.1, 10, "m"), span(8, None, "m"), span(None, None, "m")] == ["0.1 to 10 m", "8 m and more", DASH]
    assert run_key({"head": "a", "condition": "as recorded"}) == "a"
    assert run_key({"head": "a", "condition": "rain"}) == "a, rain"
    assert rate_name({"rate": 0, "offered_hz": 26.4}) == "as fast as taken"
    assert rate_name({"rate": 2.0, "offered_hz": 20.0}) == "20 Hz (2\u00d7)"


def _attributes(markup: str, name: str, style: str) -> list[dict[str, str]]:
    found = re.findall(rf'<{name} ([^>]*class="{style}"[^>]*)>', markup)
    return [dict(re.findall(r'([\w-]+)="([^"]*)"', one)) for one in found]


def test_bars_are_as_high_as_their_values():
    chart = bars("t", ["near", "far"], [Series("one", [1.0, None], "metric"), Series("two", [0.5, 0.25], "scaled")])
    heights = [float(one["height"][:-1]) for one in _attributes(chart, "rect", "bar (?:metric|scaled)")]
    assert heights == pytest.approx([heights[0], heights[0] / 2, 0, heights[0] / 4], abs=0.01)
    assert 80 < heights[0] < 100
    assert "near: one 1, two 0.5; far: one none, two 0.25" in chart.replace(DASH, "none"), "what a screen reader says"


def test_lying_bars_and_their_reference_share_one_scale():
    chart = rows("t", ["a", "b"], [Series("one", [0.2, 0.4], "metric")], references=[Reference("flat", 0.8)])
    widths = [float(one["width"][:-1]) for one in _attributes(chart, "rect", "bar metric")]
    line = _attributes(chart, "line", "reference constant")[0]
    assert [widths[1] / widths[0], float(line["x1"][:-1]) / widths[0]] == pytest.approx([2, 4], rel=1e-3)


def test_curves_keep_their_gaps():
    chart = curves("t", [0.0, 1.0, 2.0, 3.0, 4.0], [Series("one", [1.0, 1.0, None, 2.0, 4.0], "metric")])
    (path,) = _attributes(chart, "path", "curve metric")
    points = re.findall(r"([ML])([\d.]+) ([\d.]+)", path["d"])
    assert [(letter, float(x)) for letter, x, _ in points] == [("M", 0), ("L", 25), ("M", 75), ("L", 100)]
    heights = [100 - float(y) for *_, y in points]
    assert heights == pytest.approx([heights[0], heights[0], 2 * heights[0], 4 * heights[0]], abs=0.03)


def test_a_long_curve_keeps_its_extremes():
    values = [0.5] * 5000
    values[1234], values[4321] = 9.0, 0.1
    chart = curves("t", list(range(5000)), [Series("one", values, "metric")])
    data = json.loads(re.search(r'data-curves="([^"]*)"', chart)[1].replace("&quot;", '"'))["series"][0]
    assert len(data["t"]) <= 600
    assert {(1234, 9.0), (4321, 0.1)} <= set(zip(data["t"], data["v"]))


def test_a_histogram_counts_every_value_and_shares_its_last_bar_among_outliers():
    values = [10.0] * 30 + [11.0] * 500 + [12.0] * 70 + [900.0]
    chart = histogram("t", [*values, None], "ms", [Reference("p50", 11.0)])
    counts = [int(one) for one in re.findall(r"<title>[^<]*?ms(?: and more)? (\d+)</title>", chart.replace(",", ""))]
    assert sum(counts) == 601
    assert counts[-1] == 1
    assert "and more" in chart


@pytest.mark.parametrize("values", [[], [None, None]])
def test_charts_without_values_say_so(values):
    assert "no value" in curves("t", [0.0] * len(values), [Series("one", values, "metric")])
    assert "no value" in histogram("t", values, "ms", [])
    assert "<figure" in bars("t", ["a"] * len(values), [Series("one", values, "metric")])


def test_one_value_is_a_dot():
    chart = curves("t", [2.0], [Series("one", [0.0], "metric")], from_zero=False)
    assert re.search(r'd="M0.00 [\d.]+h0"', chart)
