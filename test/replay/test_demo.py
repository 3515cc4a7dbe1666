"""The demo as a user runs it: processes of their own, real DDS, and the files it leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from networks import TINY, tiny_encoder, tiny_head
from recordings import TYPES, camera_messages, write_bag

from clip_depth_ros.cli import main
from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint
from clip_depth_ros.replay.demo import BAG, CONFIG
from clip_depth_ros.replay.messages import header_stamp_ns
from clip_depth_ros.replay.node_command import node_command, node_environment
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.resources import resolve

pytest.importorskip("rclpy", reason="needs rclpy")
plyfile = pytest.importorskip("plyfile", reason="needs plyfile")
DEMO = ["-m", "clip_depth_ros.cli", "demo"]
RESULTS = {"/camera/depth/image", "/camera/depth/image_color", "/camera/depth/points", "/camera/depth/camera_info"}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    """Parameters of a node with a tiny network of random weights."""
    folder = tmp_path_factory.mktemp("network")
    weights = folder / "tiny.safetensors"
    save_checkpoint(weights, CheckpointMetadata(method="space_clip", encoder=TINY), tiny_head(), tiny_encoder())
    path = folder / "config.yaml"
    # Reports of the node's counters are waited for: let them come soon.
    path.write_text(
        f'/**:\n  ros__parameters:\n    weights: ["{weights}"]\n    device: cpu\n    diagnostics.period: 0.2\n'
    )
    return path


def _finish(process, expected):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == expected, errors
    assert "Traceback" not in errors
    return output, errors


def _processes_that_name(text: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace") if folder.name.isdigit() else ""
        except OSError:
            continue
        if text in words and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def _check_results(output: Path, recording: Path, image_topic: str) -> dict:
    """Every answer has the stamp and frame of an image that was played, and nothing is invented."""
    report = json.loads((output / "report.json").read_text())
    with BagReader(recording) as played, BagReader(output / "result_bag") as answers:
        assert set(answers.topics) == RESULTS
        images = {header_stamp_ns(one.data): played.decode(one) for one in played.messages([image_topic])}
        for topic in RESULTS:
            stamps = [header_stamp_ns(one.data) for one in answers.messages([topic])]
            assert len(stamps) == len(set(stamps)) > 0
            assert set(stamps) <= set(images)
        for one in answers.messages(["/camera/depth/image"]):
            depth, image = answers.decode(one), images[header_stamp_ns(one.data)]
            assert depth.header == image.header
            assert (depth.width, depth.height, depth.encoding) == (image.width, image.height, "32FC1")
        received = answers.topics["/camera/depth/image"].count
    (live,) = report["live"]["runs"]
    assert live["sent"] == len(images)
    assert live["received"] == received
    assert live["dropped_by_node"] + live["lost_by_dds"] == live["sent"] - live["received"]
    assert live["unexpected"] == 0
    assert 0 < live["latency_ms"]["p50"] <= live["latency_ms"]["p99"]
    (run,) = report["runs"]
    assert len(run["frames"]["t_s"]) == received
    return report


def test_the_shipped_demo(tmp_path, start_process, dds_environment):
    if not resolve(BAG).is_dir():
        pytest.skip("models/demo/rooms_bag has not been made yet")
    output = tmp_path / "out"
    text, _ = _finish(start_process([*DEMO, "--rate", "2", "-o", str(output)], dds_environment), 0)
    report = _check_results(output, resolve(BAG), "/camera/image")
    assert report["live"]["runs"][0]["sent"] >= 60
    assert text.splitlines()[0] == (output / "report.md").read_text().splitlines()[0]
    accuracy = report["runs"][0]["accuracy"]
    assert accuracy["images"] == report["live"]["runs"][0]["received"]
    assert accuracy["metric"]["abs_rel"] < accuracy["constant"]["metric"]["abs_rel"]
    assert accuracy["metric"]["a1"] > accuracy["constant"]["metric"]["a1"]
    cloud = plyfile.PlyData.read(output / "cloud.ply")["vertex"]
    assert cloud.count > 1000
    assert cloud["z"].min() > 0
    assert np.std(cv2.imread(str(output / "overview.png"))) > 20
    assert "data:image/" in (output / "report.html").read_text()
    assert not _processes_that_name(str(resolve(CONFIG)))


def test_a_recording_of_one_s_own_with_ground_truth(tmp_path, config, start_process, dds_environment):
    bag = write_bag(tmp_path / "mine", camera_messages(12, 96, 64))
    output = tmp_path / "out"
    arguments = [*DEMO, "--bag", str(bag), "--config", str(config), "-o", str(output)]
    text, _ = _finish(start_process([*arguments, "--rate", "0.5", "--head", "space_clip"], dds_environment), 0)
    report = _check_results(output, bag, "/camera/image")
    assert report["settings"]["encoder"].startswith("tiny")
    assert report["live"]["runs"][0]["rate"] == 0.5
    assert report["runs"][0]["accuracy"]["images"] == report["live"]["runs"][0]["received"]
    assert "AbsRel" in text
    assert not _processes_that_name(str(config))
    assert {path.name for path in output.iterdir()} == {
        "cloud.ply",
        "node.log",
        "overview.png",
        "report.html",
        "report.json",
        "report.md",
        "result_bag",
    }


def test_compressed_images_without_calibration_give_depth_and_no_points(
    tmp_path, config, start_process, dds_environment
):
    kind = TYPES.types["sensor_msgs/msg/CompressedImage"]
    messages = []
    for topic, time_ns, image in camera_messages(5, 96, 64):
        if topic == "/camera/image":
            data = cv2.imencode(".png", image.data.reshape(64, 96, 3)[..., ::-1])[1].reshape(-1)
            messages.append(("/front/image/compressed", time_ns, kind(image.header, "png", data)))
    bag = write_bag(tmp_path / "mine", messages)
    output = tmp_path / "out"
    arguments = [*DEMO, "--bag", str(bag), "--config", str(config), "-o", str(output), "--rate", "0.5"]
    text, errors = _finish(start_process(arguments, dds_environment), 0)
    assert "has no camera_info beside /front/image/compressed: depth will come, but no points" in errors
    assert "no accuracy" in text
    assert "cloud.ply" not in text
    with BagReader(output / "result_bag") as answers, BagReader(bag) as played:
        assert set(answers.topics) == {"/camera/depth/image", "/camera/depth/image_color"}
        sent = {header_stamp_ns(one.data) for one in played.messages()}
        assert {header_stamp_ns(one.data) for one in answers.messages()} <= sent
    assert np.std(cv2.imread(str(output / "overview.png"))) > 20


def test_an_unusable_calibration_gives_depth_and_the_reason_for_no_points(
    tmp_path, config, start_process, dds_environment
):
    messages = camera_messages(5, 96, 64)
    for topic, _, message in messages:
        if topic == "/camera/camera_info":
            message.k[:] = 0.0
    output = tmp_path / "out"
    arguments = [*DEMO, "--bag", str(write_bag(tmp_path / "mine", messages)), "--config", str(config)]
    text, _ = _finish(start_process([*arguments, "-o", str(output)], dds_environment), 0)
    assert re.search(r"- note: .*no points: .*calibrat", text), text
    with BagReader(output / "result_bag") as answers:
        assert "/camera/depth/points" not in answers.topics
        assert answers.topics["/camera/depth/image"].count


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_leaves_no_process_behind(
    tmp_path, config, start_process, dds_environment, number, code
):
    bag = write_bag(tmp_path / "mine", camera_messages(600, 96, 64))
    output = tmp_path / "out"
    process = start_process([*DEMO, "--bag", str(bag), "--config", str(config), "-o", str(output)], dds_environment)
    deadline = time.monotonic() + 90
    while "Configured" not in ((output / "node.log").read_text() if (output / "node.log").exists() else ""):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1.5)
    assert _processes_that_name(str(config))
    process.send_signal(number)
    _finish(process, code)
    assert not _processes_that_name(str(config))
    assert {path.name for path in output.iterdir()} == {"node.log"}


def test_a_node_that_cannot_work_is_told_from_its_own_words(tmp_path, start_process, dds_environment):
    bag = write_bag(tmp_path / "mine", camera_messages(2))
    config = tmp_path / "config.yaml"
    config.write_text('/**:\n  ros__parameters:\n    weights: ["/no/such.safetensors"]\n')
    arguments = [*DEMO, "--bag", str(bag), "--config", str(config), "-o", str(tmp_path / "out")]
    _, errors = _finish(start_process(arguments, dds_environment), 1)
    assert "The node cannot work: cannot configure: The weight file /no/such.safetensors does not exist" in errors
    assert not _processes_that_name(str(config))


def test_a_parameter_the_node_refuses_ends_it_and_the_demo(tmp_path, config, start_process, dds_environment):
    bag = write_bag(tmp_path / "mine", camera_messages(2))
    bad = tmp_path / "config.yaml"
    bad.write_text(config.read_text() + "    points.stride: 0\n")
    arguments = [*DEMO, "--bag", str(bag), "--config", str(bad), "-o", str(tmp_path / "out")]
    _, errors = _finish(start_process(arguments, dds_environment), 1)
    assert "The node ended with code 2 before it was ready" in errors
    assert "Parameter points.stride" in errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--bag", "/no/such/bag"], "/no/such/bag does not exist"),
        (["--bag", "{calibration}"], "has no image topic: its topics are /camera/camera_info"),
        (["--bag", "{bag}", "--config", "/no/config.yaml"], "/no/config.yaml does not exist"),
        (["--bag", "{bag}", "--rate", "-1"], "--rate is -1"),
        (["--bag", "{bag}", "--image-topic", "/nothing"], "has no topic /nothing"),
        (["--bag", "{bag}", "-o", "{file}/out"], "cannot be made"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, camera_bag, config, capsys, arguments, sentence):
    (tmp_path / "file").write_text("x")
    calibration = write_bag(tmp_path / "calibration", camera_messages(1)[:1])
    filled = [one.format(bag=camera_bag, calibration=calibration, file=tmp_path / "file") for one in arguments]
    assert main(["demo", "--config", str(config), "-o", str(tmp_path / "out"), *filled]) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert len(errors.strip().splitlines()) == 1


def test_the_node_s_command_says_what_was_asked_for(tmp_path):
    command = node_command(tmp_path / "c.yaml", "cpu", ["moa"], compressed=True)
    assert command[1:5] == ["-m", "clip_depth_ros.ros.depth_node", "--ros-args", "--params-file"]
    for parameter in ("device:=cpu", "heads:=['moa']", "image_transport:=compressed"):
        assert command[command.index(parameter) - 1] == "-p"
    assert not any("device" in word for word in node_command(tmp_path / "c.yaml"))


def test_the_profile_is_set_unless_the_user_has_one():
    ours = node_environment({}, 7)
    assert ours["ROS_DOMAIN_ID"] == "7"
    assert ours["FASTDDS_DEFAULT_PROFILES_FILE"].endswith("fastdds_large_messages.xml")
    theirs = node_environment(
        {"FASTDDS_DEFAULT_PROFILES_FILE": "/mine.xml", "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, 7
    )
    assert theirs["FASTDDS_DEFAULT_PROFILES_FILE"] == "/mine.xml"
    assert theirs["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
