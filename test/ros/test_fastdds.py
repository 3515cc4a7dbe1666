"""Images between two processes over real DDS; this file is also the program both processes run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clip_depth_ros.resources import share_path
from clip_depth_ros.ros.fastdds import PROFILE, profile_environment, profile_variables

COUNT = 30
RATE = 30.0
TOPIC = "large_image"


def test_points_to_the_shipped_profile() -> None:
    added = profile_environment({"PATH": "/usr/bin"})
    assert "FASTDDS_DEFAULT_PROFILES_FILE" in added
    assert all(Path(value).is_absolute() and Path(value).is_file() for value in added.values())


@pytest.mark.parametrize(
    ("rclpy_version", "old_name_too"),
    [("3.3.15", True), ("7.1.6", True), ("9.1.2", False), ("10.0.0", False), ("", True)],
)
def test_the_old_name_is_set_where_the_distribution_reads_it(rclpy_version: str, old_name_too: bool) -> None:
    expected = {"FASTDDS_DEFAULT_PROFILES_FILE"} | ({"FASTRTPS_DEFAULT_PROFILES_FILE"} if old_name_too else set())
    assert set(profile_variables(rclpy_version)) == expected


@pytest.mark.parametrize(
    "own",
    [
        {"FASTDDS_DEFAULT_PROFILES_FILE": "/home/user/own.xml"},
        {"FASTRTPS_DEFAULT_PROFILES_FILE": "/home/user/own.xml"},
        {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"},
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
        {"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"},
    ],
)
def test_leaves_the_users_choice_alone(own: dict[str, str]) -> None:
    assert profile_environment(own) == {}


@pytest.mark.parametrize(
    "environ",
    [
        {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"},
        {"RMW_IMPLEMENTATION": "rmw_fastrtps_dynamic_cpp"},
        {"RMW_IMPLEMENTATION": "", "FASTDDS_DEFAULT_PROFILES_FILE": ""},
    ],
)
def test_fast_dds_by_name_and_empty_variables_count_as_no_choice(environ: dict[str, str]) -> None:
    assert profile_environment(environ) == profile_environment({})
    assert profile_environment(environ)


def _environment(domain_id: int, own: dict[str, str]) -> dict[str, str]:
    """Returns what a launch file would start a process with, for a user whose own variables are ``own``."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FASTDDS_", "FASTRTPS_"))}
    clean |= {"ROS_DOMAIN_ID": str(domain_id), **own}
    return {**clean, **profile_environment(clean)}


def _run_pair(width: int, height: int, domain_id: int) -> int:
    """Sends ``COUNT`` images from one process to another; returns how many arrived whole."""
    environment = _environment(domain_id, {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"})
    command = [sys.executable, __file__]
    size = [str(width), str(height)]
    with subprocess.Popen(
        [*command, "receive", *size], env=environment, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as receiver:
        try:
            sender = subprocess.run(
                [*command, "send", *size], env=environment, timeout=90, capture_output=True, text=True, check=False
            )
            output, _ = receiver.communicate("the sender is done\n", timeout=30)
        finally:
            receiver.kill()
    assert sender.returncode == 0, sender.stderr
    return int(output)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1280, 720)])
def test_every_image_arrives_in_another_process(width: int, height: int, ros_domain_id: int) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy: pip install 'clip_depth_ros[ros]', or source ROS 2")
    assert _run_pair(width, height, ros_domain_id) == COUNT


def test_the_users_own_profile_is_what_fast_dds_reads(tmp_path: Path, ros_domain_id: int) -> None:
    """A profile of the user's own reaches Fast DDS: its segment size, which is not ours, is what gets allocated."""
    pytest.importorskip("rclpy", reason="needs rclpy: pip install 'clip_depth_ros[ros]', or source ROS 2")
    if not Path("/dev/shm").is_dir():
        pytest.skip("needs /dev/shm to look at shared memory segments")
    ours = share_path(PROFILE).read_text(encoding="utf-8")
    own_profile = tmp_path / "own.xml"
    own_profile.write_text(ours.replace("67108864", "41943040"), encoding="utf-8")
    own = dict.fromkeys(profile_environment({}), str(own_profile))
    choices: list[tuple[dict[str, str], int]] = [({}, 67108864), (own, 41943040)]
    for choice, segment in choices:
        environment = _environment(ros_domain_id, {"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp", **choice})
        done = subprocess.run(
            [sys.executable, __file__, "segments"],
            env=environment,
            timeout=60,
            capture_output=True,
            text=True,
            check=True,
        )
        largest = max(int(line) for line in done.stdout.split())
        assert segment <= largest < 1.1 * segment


def _best_effort() -> Any:
    from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

    # Deep enough that a slow Python loses nothing: only the transport is under test.
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=COUNT, reliability=ReliabilityPolicy.BEST_EFFORT)


def send(width: int, height: int) -> None:
    """Waits for the receiver, then publishes ``COUNT`` images at ``RATE`` (Hz)."""
    import array
    import time

    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("sender")
    publisher = node.create_publisher(Image, TOPIC, _best_effort())
    for _ in range(600):
        if publisher.get_subscription_count():
            break
        time.sleep(0.1)
    else:
        sys.exit("nobody subscribed")
    time.sleep(0.5)  # the receiver must have matched too
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    for index in range(COUNT):
        message.data = array.array("B", bytes([index]) * (3 * width * height))
        publisher.publish(message)
        time.sleep(1.0 / RATE)
    time.sleep(1.0)  # the last ones are in this process's segment until they are read
    rclpy.shutdown()


def receive(width: int, height: int) -> None:
    """Takes images until the sender is said to be done; prints how many different ones were whole."""
    import threading

    import rclpy
    from sensor_msgs.msg import Image

    seen: set[int] = set()

    def keep(message: Image) -> None:
        if len(message.data) == 3 * width * height and message.data[0] == message.data[-1]:
            seen.add(message.data[0])

    rclpy.init()
    node = rclpy.create_node("receiver")
    node.create_subscription(Image, TOPIC, keep, _best_effort())
    sender_is_done = threading.Thread(target=sys.stdin.readline, daemon=True)
    sender_is_done.start()
    while sender_is_done.is_alive() and len(seen) < COUNT:
        rclpy.spin_once(node, timeout_sec=0.1)
    for _ in range(COUNT):  # what is still queued
        rclpy.spin_once(node, timeout_sec=0.1)
    print(len(seen))
    rclpy.shutdown()


def segments() -> None:
    """Prints the size in bytes of each shared-memory data segment that this process has mapped."""
    import rclpy

    rclpy.init()
    node = rclpy.create_node("holder")
    rclpy.spin_once(node, timeout_sec=0.1)
    # Fast DDS 2 names them fastrtps_*.
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    mapped = {line.split()[-1] for line in maps if "/dev/shm/fastdds_" in line or "/dev/shm/fastrtps_" in line}
    for path in sorted(mapped):
        if "port" not in path and not path.endswith("_el"):
            print(Path(path).stat().st_size)
    rclpy.shutdown()


if __name__ == "__main__":
    mode, *size = sys.argv[1:]
    if mode == "segments":
        segments()
    else:
        (send if mode == "send" else receive)(int(size[0]), int(size[1]))
