"""``clip-depth replay --live`` as a user runs it: a node of its own, real DDS, one report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from networks import TINY, tiny_encoder, tiny_head
from recordings import camera_messages, write_bag

from clip_depth_ros.cli import main
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
from clip_depth_ros.replay.messages import header_stamp_ns
from clip_depth_ros.replay.reader import BagReader

pytest.importorskip("rclpy", reason="needs rclpy")
FRAMES = 10


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A recording and a tiny network of random weights."""
    weights = tmp_path / "tiny.safetensors"
    save_checkpoint(weights, CheckpointMetadata(method="space_clip", encoder=TINY), tiny_head(), tiny_encoder())
    config = tmp_path / "config.yaml"
    config.write_text(
        f'/**:\n  ros__parameters:\n    weights: ["{weights}"]\n    device: cpu\n    diagnostics.period: 0.2\n'
    )
    bag = write_bag(tmp_path / "bag", camera_messages(FRAMES, 96, 64))
    return ["-m", "clip_depth_ros.cli", "replay", str(bag), "--live", "--config", str(config)]


def finish(process: Popen[str], expected: int) -> tuple[str, str]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == expected, errors
    assert "Traceback" not in errors
    return output, errors


def test_a_node_is_measured_at_two_paces(
    tmp_path: Path,
    arguments: list[str],
    start_process: Callable[..., Popen[str]],
    dds_environment: dict[str, str],
) -> None:
    output = tmp_path / "out"
    options = ["--rate", "4", "0", "--seconds", "1", "--no-search", "--result-bag", "-o", str(output)]
    text, _ = finish(start_process([*arguments, *options], dds_environment), 0)
    report: dict[str, Any] = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert (report["kind"], report["complete"]) == ("live", True)
    assert report["settings"]["encoder"].startswith("tiny")
    live = report["live"]
    assert live["start_up_s"] > 0
    assert live["highest_rate_hz"] is None
    paced, fastest = live["runs"]
    assert (paced["rate"], fastest["rate"]) == (4.0, 0.0)
    for run in live["runs"]:
        assert run["sent"] >= FRAMES
        assert run["dropped_by_node"] + run["lost_by_dds"] == run["sent"] - run["received"]
        assert run["unexpected"] == 0
        assert run["cpu_percent"]["max"] >= run["cpu_percent"]["mean"] > 0
        assert run["memory_mib"]["max"] > 50
    with BagReader(output / "result_bag") as answers, BagReader(arguments[3]) as recording:
        stamps = [header_stamp_ns(one.data) for one in answers.messages(["/camera/depth/image"])]
        sent = {header_stamp_ns(one.data) for one in recording.messages(["/camera/image"])}
        assert 0 < len(stamps) == len(set(stamps))
        assert set(stamps) <= sent
    # What is scored is what came back at the first pace, once.
    (scored,) = report["runs"]
    assert sorted(int(stamp) for stamp in scored["frames"]["stamp_ns"]) == sorted(stamps)
    assert scored["accuracy"]["images"] == len(stamps)
    assert "report.html" in text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--degrade", "blur"], "--degrade has no meaning with --live"),
        (["--rate", "-1"], "rate is -1"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert main([*arguments[2:], *options, "-o", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.json").exists()
