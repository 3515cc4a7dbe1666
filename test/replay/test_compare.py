from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clip_depth_ros.commands import compare as command
from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.compare import compare, read_reports, write_comparison


def _accuracy(abs_rel: float) -> dict[str, Any]:
    def values(shift: float) -> dict[str, float]:
        return {"abs_rel": abs_rel + shift, "rmse": 0.7 + shift, "a1": 0.8 - shift}

    return {
        "images": 90,
        "range_m": [0.1, 10.0],
        "crop": "none",
        "metric": values(0.0),
        "median_scaled": values(-0.05),
        "constant": {"depth_m": 2.0, "metric": values(0.2), "median_scaled": values(0.1)},
    }


def _report(abs_rel: float = 0.2, **bag: Any) -> dict[str, Any]:
    run = {
        "head": "space_clip",
        "condition": "as recorded",
        "speed": {"frames_per_s": 12.5},
        "accuracy": _accuracy(abs_rel),
    }
    return {
        "format": 1,
        "complete": True,
        "bag": {
            "name": "rooms",
            "images": 96,
            "image_size": [320, 240],
            "image_topic": "/camera/image",
            "truth_topic": "/camera/depth/image",
            "truth_kind": "depth image",
            **bag,
        },
        "runs": [run, {**run, "condition": "dark", "accuracy": _accuracy(abs_rel + 0.1)}],
        "live": None,
    }


def _live(rate: float, p50: float) -> dict[str, Any]:
    return {"rate": rate, "offered_hz": 10 * rate, "latency_ms": {"p50": p50, "p99": 2 * p50}}


def _write(folder: Path, content: Any, name: str = "report.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder / name


def _compared(*files: Path):
    reports = read_reports(files)
    return compare(reports), reports


def test_every_run_of_every_report_is_a_row(tmp_path):
    other = _report(0.4)
    other["live"] = {"highest_rate_hz": 20.0, "runs": [_live(1, 40.0), _live(2, 50.0), _live(4, 90.0)]}
    found, _ = _compared(_write(tmp_path / "a", _report()), _write(tmp_path / "b", other).parent)
    assert [row.label for row in found.rows] == [
        "a: space_clip",
        "a: space_clip, dark",
        "b: space_clip",
        "b: space_clip, dark",
    ]
    assert found.remarks == []
    last = found.rows[3]
    assert last.metric == pytest.approx((0.5, 0.7, 0.8))
    assert last.median_scaled == pytest.approx((0.45, 0.65, 0.85))
    assert (last.images, last.constant_abs_rel, last.frames_per_s) == (90, pytest.approx(0.7), 12.5)
    assert (last.latency_p50_ms, last.latency_p99_ms, last.latency_at_hz, last.highest_rate_hz) == (50, 100, 20, 20)
    assert found.rows[0].latency_p50_ms is None


def test_the_tables_hold_the_rows(tmp_path):
    found, reports = _compared(_write(tmp_path / "a", _report()))
    row = next(line for line in found.as_markdown().splitlines() if line.startswith("| a: space_clip, dark"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:7] == ["90", "0.300 / 0.250", "0.700 / 0.650", "0.800 / 0.850", "0.500", "12.5"]
    files = write_comparison(tmp_path / "out", found, reports)
    assert [file.name for file in files] == ["compare.html", "compare.md", "compare.json"]
    content = json.loads(files[2].read_text(encoding="utf-8"))
    assert content["rows"][1]["metric"]["abs_rel"] == pytest.approx(0.3)
    page = files[0].read_text(encoding="utf-8")
    assert "a: space_clip, dark" in page
    assert not re.search(r"https?://", page)
    assert [page.count(f"<td>{value}</td>") for value in ("0.300", "0.250")] == [0, 0], "each group begins with an edge"
    assert [page.count(f'<td class="first">{value}</td>') for value in ("0.300", "0.250")] == [1, 1]


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        (lambda other: other["bag"].update(name="garden"), "recordings differ: rooms, 96 images 320x240"),
        (lambda other: other["bag"].update(images=50), "recordings differ"),
        (lambda other: other["bag"].update(truth_topic="/lidar", truth_kind="LiDAR"), "ground truths differ"),
        (
            lambda other: other["runs"][0]["accuracy"].update(range_m=[0.1, 80]),
            "ranges of the truth differ: 0.1 to 10 m",
        ),
        (
            lambda other: other["runs"][1]["accuracy"].update(images=70),
            "numbers of matched images differ: 90 (a, b); 70 (b)",
        ),
        (lambda other: other["runs"][0]["accuracy"].update(crop="eigen"), "crops differ"),
    ],
)
def test_what_cannot_be_compared_is_said(tmp_path, change, remark):
    other = _report()
    change(other)
    found, reports = _compared(_write(tmp_path / "a", _report()), _write(tmp_path / "b", other))
    assert len(found.remarks) == 1
    assert found.remarks[0].startswith("Not comparable: the ")
    assert remark in found.remarks[0]
    assert found.remarks[0] in found.as_markdown()
    assert found.remarks[0] in (write_comparison(tmp_path / "out", found, reports)[0]).read_text(encoding="utf-8")


def test_incomplete_runs_and_missing_truth_are_said(tmp_path):
    other = _report()
    other["complete"] = False
    other["runs"][1]["accuracy"] = None
    found, _ = _compared(_write(tmp_path / "a", _report()), _write(tmp_path / "b", other))
    assert found.remarks == [
        "Stopped before the end of the recording: b.",
        "Without ground truth: b: space_clip, dark.",
    ]


def test_names_of_reports_are_told_apart(tmp_path):
    files = [_write(tmp_path / one / "out", _report()) for one in ("x", "y")]
    assert [report.name for report in read_reports(files)] == ["x/out", "y/out"]
    files.append(_write(tmp_path / "z", _report(), "mine.json"))
    assert [report.name for report in read_reports(files[1:])] == ["out", "mine"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("\x00\xff", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1, 2]", "is no replay report"),
        ('{"format": 1, "bag": {}, "runs": 3}', "is no replay report"),
        ('{"format": 1, "bag": {}, "runs": [3]}', "is no replay report"),
        ('{"format": 2, "bag": {}, "runs": []}', "has format 2, but this version reads 1"),
        (None, "does not exist"),
    ],
)
def test_bad_files_are_named_in_one_sentence(tmp_path, content, says):
    file = tmp_path / "report.json"
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    with pytest.raises(BadInput) as caught:
        read_reports([file])
    assert str(caught.value).startswith(f"{file} {says}")


def test_a_folder_without_a_report(tmp_path):
    with pytest.raises(BadInput, match=r"report\.json does not exist"):
        read_reports([tmp_path])


def test_the_command_prints_the_table_and_writes_where_asked(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    file = str(_write(tmp_path / "a", _report()))
    assert command.run(parser.parse_args([file])) == 0
    assert "| a: space_clip, dark |" in capsys.readouterr().out
    assert command.run(parser.parse_args([file, "-o", str(tmp_path / "out")])) == 0
    assert "compare.html, compare.md, compare.json" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_the_command_needs_neither_torch_nor_opencv(tmp_path):
    file = _write(tmp_path / "a", _report())
    code = (
        "import argparse, sys; from clip_depth_ros.commands import compare as c; p = argparse.ArgumentParser();"
        "c.add_arguments(p); c.run(p.parse_args(sys.argv[1:])); assert not {'torch', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(file), "-o", str(tmp_path / "out")], check=True, timeout=60)
