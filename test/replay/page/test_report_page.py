from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np
import pytest

from clip_depth_ros.depth.metrics import NAMES
from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.page import markdown, write_report
from clip_depth_ros.replay.page.text import DASH, METRICS

VOID = {"br", "col", "img", "input", "link", "meta"}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--|`*[x](y)"


class Page(HTMLParser):
    """What a browser would find: elements with their text, and tables as rows of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._rows: list[list[str]] | None = None
        self._name = ""
        self.feed(text)
        self.close()
        assert not self._open, f"{self._open} never end"

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)
        if attributes.get("role") == "region":
            self._name = attributes["aria-label"]
        if tag == "table":
            self._rows = self.tables.setdefault(self._name, [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, "elements end in order"
        if tag == "table":
            self._name = ""

    def handle_data(self, data):
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)
        if self._rows and ("td" in self._open or "th" in self._open):
            self._rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def embedded(self) -> dict[str, Any]:
        return json.loads(next(text for text in self.texts["script"] if text.startswith("{")))


@pytest.fixture
def written(tmp_path):
    def write(report, strip) -> Page:
        files = write_report(tmp_path, report, strip)
        assert [file.name for file in files] == ["report.html", "report.json", "report.md"]
        assert sorted(tmp_path.iterdir()) == sorted(files), "nothing else is left behind"
        return Page(files[0].read_text(encoding="utf-8"))

    return write


def test_the_page_asks_nothing_of_the_network(written, report, frames):
    page = written(report, frames())
    text = "".join(f"{name}{attributes}" for name, attributes in page.elements)
    assert not re.search(r"https?://|//\w+\.", text)
    assert not re.search(
        r"url\(|@import|fetch\(|XMLHttpRequest|https?://", "".join(page.texts["style"] + page.texts["script"])
    )
    for name, attributes in page.elements:
        source = attributes.get("src") or attributes.get("href") or ""
        assert source.startswith(("data:", "#")) or not source, (name, source)
        assert not any(key.startswith("on") or key == "style" for key in attributes), "the policy forbids these"


def test_the_policy_allows_this_style_and_this_script_only(written, report, frames):
    page = written(report, frames())
    policy = next(one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    own = next(text for text in page.texts["script"] if not text.startswith("{"))
    for kind, text in (("style-src", page.texts["style"][0]), ("script-src", own)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy


def test_every_picture_decodes(written, report, frames):
    page = written(report, frames(4))
    strip = page.embedded()["strip"]
    assert len(strip["frames"]) == 4
    sources = [one["src"] for one in page.all("img")]
    for frame in strip["frames"]:
        sources += [frame["rgb"], frame["truth"]]
        sources += [shown[name] for shown in frame["depths"].values() for name in ("depth", "error")]
    assert len(sources) == 4 + 4 * 6
    for source in sources:
        data = np.frombuffer(base64.b64decode(source.partition(";base64,")[2], validate=True), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (48, 64, 3)
    assert all(one["alt"] for one in page.all("img"))


def test_the_table_of_runs_holds_the_reports_numbers(written, report, frames):
    table = written(report, frames()).tables["All metrics of every run"]
    groups, names, *rows = table
    assert groups == ["Run", "Metric", "Median-scaled"]
    assert [name.split(" ↓")[0].split(" ↑")[0] for name in names] == [metric.label for metric in METRICS] * 2
    accuracies = [run["accuracy"] for run in report["runs"]]
    expected = {
        "space_clip": accuracies[0],
        "space_clip, dark": accuracies[1],
        "A constant 2.50 m": accuracies[0]["constant"],
    }
    assert [row[0] for row in rows] == list(expected)
    for name, *cells in rows:
        values = [expected[name][scaling][metric.key] for scaling in ("metric", "median_scaled") for metric in METRICS]
        assert [float(cell) for cell in cells] == pytest.approx(values, abs=0.0051)


def test_other_tables_hold_the_reports_numbers(written, report, frames):
    tables = written(report, frames()).tables
    bands = tables["Error by distance"][2:]
    assert [row[:2] for row in bands[:4]] == [
        ["0 to 1 m", "0.0 %"],
        ["1 to 2 m", "30.0 %"],
        ["2 to 4 m", "50.0 %"],
        ["8 m and more", "20.0 %"],
    ]
    assert bands[0][2:] == [DASH] * 6
    assert bands[1][2:] == ["0.210", "0.230", "0.270", "0.205", "0.225", "0.265"]
    assert ["Metric", "12.3 %", "23.4 %", "0.345 m"] in tables["Error of the cloud"]
    assert ["Median-scaled", "45.6 %", "56.7 %", "0.078 m"] in tables["Error of the cloud"]
    assert ["space_clip", "3", "12.5", "81.5 ms", "4"] in tables["Offline speed"]


def test_every_depth_table_names_data_split_crop_range_and_scaling(written, report, frames):
    page = written(report, frames())
    captions = [text for text in page.texts["p"] if text.startswith("Data: ")]
    assert len(captions) == 1 + 2 * 2, "all metrics; of each run its bands and its cloud"
    for caption in captions:
        assert "corridor, 3 matched images, no split" in caption
        assert "crop: none; range of the truth: 0.1 to 10 m" in caption
    for name in ("All metrics of every run", "Error by distance", "Error of the cloud"):
        assert "Median-scaled" in json.dumps(page.tables[name])


def test_live_figures(written, live_report, frames):
    page = written(live_report, frames())
    rows = page.tables["Live rates, drops and latency"][2:]
    assert [row[0] for row in rows] == ["10 Hz (1\u00d7)", "20 Hz (2\u00d7)", "as fast as taken"]
    assert rows[2][1:9] == ["5.0 s", "50", "43", "7", "0", "0", "10", "9.8"]
    assert rows[2][9:] == [
        "41",
        "50",
        "62",
        "77",
        "90",
        "1.5",
        "8.5",
        "88 / 120",
        "500 → 510 (max 515)",
        "20 % / 40 %, 900 MiB",
    ]
    shown = [one for one in page.all("div") if one.get("data-rate") is not None and "hidden" not in one]
    assert [one["data-rate"] for one in shown] == ["1"], "the highest rate without a drop"
    assert sum(attributes.get("aria-label", "").startswith("Latency. 4 values") for attributes in page.all("svg")) == 3


def test_hostile_text_is_only_text(written, report, frames):
    def poisoned(value):
        if isinstance(value, dict):
            return {key: poisoned(item) for key, item in value.items()} | (
                {HOSTILE: HOSTILE} if not value.get("t_s") else {}
            )
        if isinstance(value, list):
            return [poisoned(item) for item in value]
        return HOSTILE if isinstance(value, str) else value

    bad = poisoned(report)
    bad["complete"], bad["bag"]["warnings"] = False, [HOSTILE]
    page = written(bad, frames(2, keys=(HOSTILE,)))
    assert len(page.all("script")) == 2
    assert {one["id"] for one in page.all("img")} == {"tile-rgb", "tile-depth", "tile-truth", "tile-error"}
    assert HOSTILE in page.texts["h1"]
    assert page.embedded()["strip"]["keys"] == [HOSTILE]
    assert not re.search(r"<(script|img|!--)", markdown(bad))


def _emptied(value):
    """Yields the value with each of its parts in turn set to None; of nine metrics the first."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in list(items)[: 1 if isinstance(value, dict) and set(value) == set(NAMES) else None]:
        for changed in (None, *_emptied(item)):
            copied = copy.copy(value)
            copied[key] = changed
            yield copied


def test_nothing_crashes_on_what_is_not_there(live_report):
    from clip_depth_ros.replay.page.document import report_page

    live_report["runs"], live_report["live"]["runs"] = live_report["runs"][:1], live_report["live"]["runs"][:1]
    live_report["bag"]["warnings"] = ["a warning"]
    reports = list(_emptied(live_report))
    assert len(reports) > 100
    for index, changed in enumerate(reports):
        for text in (report_page(changed, []), markdown(changed)):
            body = text.partition("<main>")[2].partition("<script")[0] or text
            seen = re.sub(r'data-curves="[^"]*"', "", body)
            found = re.search(r"\b(None|nan|null)\b", seen)
            assert not found, seen[found.start() - 40 : found.end()]
        if index % 10 == 0:
            Page(report_page(changed, []))


def test_reports_that_hold_less(written, report, blind_report, frames):
    page = written(blind_report, frames(truth=False))
    assert {one["data-tile"] for one in page.all("figure") if "data-tile" in one} == {"rgb", "depth"}
    assert any("holds no ground truth" in text for text in page.texts["p"])
    assert not any("AbsRel of each image" in text for text in page.texts["strong"])
    one = {**report, "runs": [{**report["runs"][0], "frames": {"t_s": [0.0], "stamp_ns": ["1"], "abs_rel": [0.1]}}]}
    slider = next(one for one in written(one, frames(1)).all("input"))
    assert slider["max"] == "0"
    assert "disabled" in slider
    page = written({**report, "runs": []}, [])
    assert any("No frame was kept" in text for text in page.texts["p"])


def test_an_incomplete_run_is_announced_first(written, report, frames):
    page = written({**report, "complete": False, "stopped": "Ctrl-C after 2 images."}, frames())
    notice = next(text for text in page.texts["p"] if "not complete" in text)
    assert "Ctrl-C after 2 images." in notice
    assert "Ctrl-C after 2 images." in markdown({**report, "complete": False, "stopped": "Ctrl-C after 2 images."})


def test_json_is_the_report_without_nan(written, tmp_path, report, frames):
    report["runs"][0]["frames"]["abs_rel"][1] = float("nan")
    report["runs"][0]["accuracy"]["coverage"] = np.float32(0.5)
    written(report, frames())
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    report["runs"][0]["frames"]["abs_rel"][1] = None
    assert content == report


def test_markdown_has_both_scalings_in_each_cell(live_report):
    text = markdown(live_report)
    row = next(line for line in text.splitlines() if line.startswith("| space_clip "))
    assert re.findall(r"\d\.\d{3} / \d\.\d{3}", row)[:3] == ["0.200 / 0.150", "0.210 / 0.160", "0.220 / 0.170"]
    assert "3 of 4 images were matched with 5 ground truths" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(line) for line in table.splitlines()}) == 1, "rows line up"


def test_a_folder_that_cannot_be_written(tmp_path, report, frames):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        write_report(tmp_path / "file", report, frames())
