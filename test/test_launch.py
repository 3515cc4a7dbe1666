"""The launch files: what they refer to exists, and ``ros2 launch`` runs them from a workspace that colcon built."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from workspace import NAME, REPOSITORY, build_workspace, run_sourced, start_sourced

LAUNCH_FILES = sorted((REPOSITORY / "launch").glob("*.launch.py"))
ARGUMENTS = {"image", "camera_info", "config", "weights", "namespace", "device", "image_transport", "log_level"}
WAIT = 60.0  # seconds until something that should happen counts as not happening
needs_launch = pytest.mark.skipif(
    shutil.which("ros2") is None, reason="needs ros2 launch, which is not on PyPI: source a ROS 2 installation"
)


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_refers_to_files_and_executables_that_exist(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    shared = {ast.literal_eval(call.args[0]) for call in calls if getattr(call.func, "id", "") == "share_path"}
    assert shared
    assert not [name for name in shared if not (REPOSITORY / name).exists()]
    keywords = [keyword for call in calls for keyword in call.keywords]
    executables = {ast.literal_eval(keyword.value) for keyword in keywords if keyword.arg == "executable"}
    installed = set(re.findall(r'"([\w-]+) = clip_depth_ros', (REPOSITORY / "setup.py").read_text(encoding="utf-8")))
    assert executables
    assert executables <= installed


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from networks import TINY, tiny_encoder, tiny_head

    from clip_depth_ros.depth.checkpoint import CheckpointMetadata, save_checkpoint

    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, CheckpointMetadata(method="space_clip", encoder=TINY), tiny_head(), tiny_encoder())
    return path


@needs_launch
@pytest.mark.parametrize(
    ("launch_file", "expected"),
    [
        ("clip_depth.launch.py", ARGUMENTS),
        ("demo.launch.py", ARGUMENTS | {"play", "bag", "loop", "rate"}),
        ("replay_benchmark.launch.py", {"bag", "config", "head", "rates", "device", "seconds", "timeout", "output"}),
    ],
)
def test_every_argument_is_described(workspace: Path, launch_file: str, expected: set[str]) -> None:
    shown = run_sourced(workspace, ["ros2", "launch", NAME, launch_file, "--show-args"])
    described = dict(re.findall(r"^ {4}'(\w+)':\n {8}(.+)\n", shown, flags=re.MULTILINE))
    assert set(described) == expected
    assert all(len(description) > 20 for description in described.values())


@needs_launch
def test_names_a_config_that_is_missing(workspace: Path) -> None:
    command = ["ros2", "launch", NAME, "clip_depth.launch.py", "config:=/nowhere/robot.yaml"]
    with start_sourced(workspace, command) as process:
        try:
            output, _ = process.communicate(timeout=WAIT)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "config:=/nowhere/robot.yaml is not a file" in output
    assert "process started" not in output


@needs_launch
def test_the_replay_benchmark_ends_the_launch_and_its_failure_is_the_launch_s(workspace: Path) -> None:
    command = ["ros2", "launch", NAME, "replay_benchmark.launch.py", "bag:=/nowhere/bag", "rates:=2.0,0.0"]
    with start_sourced(workspace, command) as process:
        try:
            output, _ = process.communicate(timeout=WAIT)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "replay /nowhere/bag --live --output replay_output --rate 2.0 0.0" in output
    assert "/nowhere/bag does not exist" in output
    assert "the replay benchmark failed with exit code 2" in output


@needs_launch
def test_arguments_reach_the_node_and_win_over_the_config(
    workspace: Path, weights: Path, tmp_path: Path, ros_context: Any, ros_domain_id: int
) -> None:
    config = tmp_path / "robot.yaml"
    # By node name, which ROS prefers to wildcards: the arguments have to win over that as well.
    config.write_text(
        "/robot/clip_depth:\n  ros__parameters:\n    device: cuda:7\n    weights: [/nowhere/else.safetensors]\n",
        encoding="utf-8",
    )
    arguments = {
        "config": config,
        "weights": weights,
        "device": "cpu",
        "namespace": "robot",
        "image": "/front/image_raw",
        "camera_info": "/front/camera_info",
    }
    with launched(workspace, "clip_depth.launch.py", arguments, _environment(ros_domain_id)) as log:
        depth = round_trip(ros_context, "/front/image_raw", "/robot/depth/image")
        environment = node_environment(log())
    assert (depth.width, depth.height, depth.encoding) == (64, 48, "32FC1")
    profile = workspace / "install" / NAME / "share" / NAME / "config" / "fastdds_large_messages.xml"
    assert environment["FASTDDS_DEFAULT_PROFILES_FILE"] == str(profile)


@needs_launch
def test_without_arguments_the_config_decides_and_the_users_profile_stays(
    workspace: Path, weights: Path, tmp_path: Path, ros_context: Any, ros_domain_id: int
) -> None:
    config = tmp_path / "robot.yaml"
    config.write_text(f"/**:\n  ros__parameters:\n    device: cpu\n    weights: [{weights}]\n", encoding="utf-8")
    profile = shutil.copy(REPOSITORY / "config" / "fastdds_large_messages.xml", tmp_path / "own.xml")
    environ = _environment(ros_domain_id, FASTDDS_DEFAULT_PROFILES_FILE=str(profile))
    with launched(workspace, "clip_depth.launch.py", {"config": config}, environ) as log:
        round_trip(ros_context, "/image", "/depth/image")
        environment = node_environment(log())
    assert environment["FASTDDS_DEFAULT_PROFILES_FILE"] == str(profile)
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in environment


@needs_launch
def test_demo_plays_the_shipped_recording_to_the_node(workspace: Path, ros_context: Any, ros_domain_id: int) -> None:
    from sensor_msgs.msg import PointCloud2

    with launched(workspace, "demo.launch.py", {"device": "cpu"}, _environment(ros_domain_id)) as log:
        cloud = first_message(ros_context, PointCloud2, "/depth/points", log)
        assert log().count("process started") == 2
    assert cloud.header.frame_id == "camera_optical_frame"


def _environment(domain_id: int, **own: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FASTDDS_", "FASTRTPS_"))}
    return {**clean, "ROS_DOMAIN_ID": str(domain_id), **own}


@contextmanager
def launched(
    workspace: Path, launch_file: str, arguments: dict[str, Any], environ: dict[str, str]
) -> Iterator[Callable[[], str]]:
    """Runs ``ros2 launch``; yields what says what it printed so far; interrupts it and checks that all ended well."""
    command = ["ros2", "launch", NAME, launch_file, *(f"{name}:={value}" for name, value in arguments.items())]
    output = workspace / f"{launch_file}.txt"
    with output.open("w", encoding="utf-8") as sink, start_sourced(workspace, command, environ, output=sink) as process:

        def printed() -> str:
            text = output.read_text(encoding="utf-8")
            assert process.poll() is None, f"ros2 launch has ended: {text}"
            return text

        try:
            yield printed
            process.send_signal(signal.SIGINT)
            process.wait(WAIT)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the nodes are in its group
            print(output.read_text(encoding="utf-8"))  # pytest shows it when the test fails
    assert process.returncode == 0
    assert "process has died" not in output.read_text(encoding="utf-8")


def node_environment(log: str) -> dict[str, str]:
    """Returns the environment of the node that ``ros2 launch`` says it started."""
    (pid,) = re.findall(r"depth_node-\d+\]: process started with pid \[(\d+)\]", log)
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


def round_trip(context: Any, image_topic: str, depth_topic: str) -> Any:
    """Sends images on one topic until depth comes back on the other, and returns the first of it."""
    import rclpy
    from sensor_msgs.msg import Image

    node = rclpy.create_node("camera", context=context)
    publisher = node.create_publisher(Image, image_topic, 1)
    image = Image(width=64, height=48, encoding="rgb8", step=192, data=bytes(64 * 48 * 3))
    try:
        return first_message(context, Image, depth_topic, lambda: publisher.publish(image))
    finally:
        node.destroy_node()


def first_message(context: Any, kind: type, topic: str, between: Callable[[], object]) -> Any:
    """Waits for a message, calling ``between`` ten times a second."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    heard: list[Any] = []
    node = rclpy.create_node("listener", context=context)
    node.create_subscription(kind, topic, heard.append, 1)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    deadline = time.monotonic() + WAIT
    while not heard:
        assert time.monotonic() < deadline, f"nothing came on {topic}"
        between()
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    node.destroy_node()
    return heard[0]
