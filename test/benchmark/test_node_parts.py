"""The parts that run the node: real processes, real DDS, the demo's network, briefly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clip_depth_ros.benchmark import first_depth
from clip_depth_ros.benchmark.start import FIRST, LISTENS, TOTAL, steps
from clip_depth_ros.resources import resolve

pytest.importorskip("rclpy", reason="needs rclpy")
pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'clip_depth_ros[benchmark]'")


@pytest.fixture
def measure(tmp_path: Path, read_outcome):
    """Runs ``clip-depth benchmark PART`` as a process of its own and returns its JSON."""
    if not resolve("package://clip_depth_ros/models/demo/encoder.safetensors").is_file():
        pytest.skip("models/demo has not been made yet")

    def run(part: str, *words: str, code: int = 0):
        command = [sys.executable, "-m", "clip_depth_ros.cli", "benchmark", part, "--device", "cpu", "--threads", "1"]
        done = subprocess.run(
            [*command, "-o", str(tmp_path), "-p", "diagnostics_period:=0.2", *words],
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return read_outcome(tmp_path, part, done.stdout) if code == 0 else done.stderr

    return run


def test_node(measure) -> None:
    report = measure("node", "--rounds", "1", "--frames", "20", "--rate", "10", "--topics", "depth+points")
    (run,) = report["runs"]["depth+points"]
    assert report["topics"] == {"depth+points": ["depth/image", "depth/points"]}
    depth, points = (run["client"][topic] for topic in report["topics"]["depth+points"])
    counts = run["counts"]
    assert depth["sent"] == points["sent"] == 20
    assert (
        0 < depth["received"] == 20 - depth["dropped"] <= counts["frames published"] <= counts["frames received"] <= 20
    )
    assert depth["unexpected"] == points["unexpected"] == 0
    assert 0 < depth["latency_p50_s"] <= depth["latency_p99_s"]
    found = report["milliseconds"]["depth+points"]
    assert found["in to out p50"]["median"] == pytest.approx(1e3 * depth["latency_p50_s"])
    assert found["node cost p50"]["median"] == float(run["node"]["node cost p50 [ms]"]) > 0
    assert found["network p50"]["median"] > 0
    row = report["tables"][0]["rows"][0]
    assert row[0] == "depth+points"
    assert row[-1] == f"{depth['dropped']} of 20"
    assert "demo-rooms-vit" in report["title"]


def test_soak_with_two_cameras(measure) -> None:
    report = measure("soak", "--cameras", "2", "--rate", "10", "--seconds", "1.5", "--settle", "0.5")
    (run,) = report["runs"]
    assert set(run["cameras"]) == set(run["counts"]) == {"camera_0", "camera_1"}
    for camera, one in run["cameras"].items():
        counts = run["counts"][camera]
        assert one["sent"] == 15
        assert 0 < one["received"] <= counts["frames published"] <= counts["frames received"] <= 15
        assert one["unexpected"] == 0
        seconds, latencies = run["latencies"][camera]
        assert len(seconds) == len(latencies) == one["received"]
        assert min(latencies) > 0
    verdicts = {verdict["what"]: verdict for verdict in run["verdicts"]}
    accepted = sum(counts["frames received"] for counts in run["counts"].values())
    lost = accepted - sum(one["received"] for one in run["cameras"].values())
    assert verdicts["frames sent"]["measured"] == "30"
    assert verdicts["frames accepted by the node"]["measured"] == str(accepted)
    assert verdicts["frames lost after acceptance"]["measured"].split()[0] == str(lost)
    assert verdicts["frames lost after acceptance"]["met"] == (lost == 0)
    assert verdicts["resident memory, growth"]["target"].startswith("at most 1 %")
    seconds, resident = run["resident_bytes"]
    assert len(seconds) == len(resident) >= 2
    assert min(resident) > 50 << 20


def test_start(measure) -> None:
    report = measure("start", "--rounds", "1")
    seconds = {name: values[0] for name, values in report["seconds"].items()}
    before_first_depth = [seconds[f"step: {name}"] for name in ("interpreter", "import", "load", "first depth")]
    assert seconds[TOTAL] == pytest.approx(sum(before_first_depth))
    assert all(value > 0 for value in seconds.values())
    assert seconds[LISTENS] <= seconds[FIRST]


def test_a_node_that_cannot_work_is_said(measure, tmp_path: Path) -> None:
    told = measure("soak", "--seconds", "1", "-p", "precision:=int3", code=1)
    assert "The node ended with code 2" in told
    assert "int3" in told
    assert not list(tmp_path.glob("*.json"))


def test_an_estimator_that_cannot_be_loaded_is_one_sentence(tmp_path: Path, capsys) -> None:
    config = tmp_path / "absent_weights.yaml"
    config.write_text("/**:\n  ros__parameters:\n    weights: ['absent.safetensors']\n")
    assert first_depth.main([str(config), "cpu", "48", "64"]) == 2
    told = capsys.readouterr()
    assert "absent.safetensors" in told.err
    assert told.err.count("\n") == 1
    assert not told.out


def test_steps_are_between_moments() -> None:
    found = steps([10.0, 10.5, 12.0, 12.25, 13.0, 13.125])
    assert found == {
        "step: interpreter": 0.5,
        "step: import": 1.5,
        "step: load": 0.25,
        "step: first depth": 0.75,
        "step: second depth": 0.125,
        TOTAL: 3.0,
    }
