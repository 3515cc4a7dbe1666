from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path

import pytest
from recordings import PERIOD_NS, START_NS, camera_info, camera_messages, write_bag

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.messages import header_stamp_ns
from clip_depth_ros.replay.reader import BagReader

player_module = pytest.importorskip("clip_depth_ros.replay.player", reason="needs rclpy")
BagPlayer = player_module.BagPlayer
LISTENER = str(Path(__file__).with_name("listener.py"))
IMAGE = "sensor_msgs/msg/Image"


@pytest.fixture
def node(ros_context, dds_environment):
    from rclpy.node import Node

    node = Node("player_test", context=ros_context)
    yield node
    node.destroy_node()


@pytest.fixture(autouse=True)
def _profile(monkeypatch):
    """This process's own participant needs the profile for large images too, before its context exists."""
    from clip_depth_ros.ros.fastdds import profile_environment

    for name, value in profile_environment(os.environ).items():
        monkeypatch.setenv(name, value)


def _heard(process) -> list[dict]:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def _listen(start_process, environment, count, *topics):
    process = start_process([LISTENER, "30", str(count), *topics], environment)
    assert process.stdout.readline() == "ready\n"
    return process


def test_another_process_hears_every_byte_in_order(tmp_path, node, start_process, dds_environment):
    # 640x480 as cameras send it: the default Fast DDS profile loses all of these.
    bag = write_bag(tmp_path / "bag", camera_messages(8, 640, 480))
    listener = _listen(start_process, dds_environment, 16, f"/robot/image={IMAGE}", f"/camera/depth/image={IMAGE}")
    with BagReader(bag) as reader:
        topics = ["/camera/image", "/camera/depth/image"]
        player = BagPlayer(node, reader, topics=topics, remap={"/camera/image": "/robot/image"})
        assert player.wait_for_subscribers(20.0, topics)
        start = time.monotonic()
        assert player.play() == 16
        took = time.monotonic() - start
        heard = _heard(listener)
        player.close()
        for source, target in (("/camera/image", "/robot/image"), ("/camera/depth/image", "/camera/depth/image")):
            sent = [one.data for one in reader.messages([source])]
            assert [one["sha"] for one in heard if one["topic"] == target] == [
                hashlib.sha256(data).hexdigest() for data in sent
            ]
    assert took >= 7 * PERIOD_NS / 1e9  # never faster than recorded; slower is this machine's business


@pytest.mark.parametrize(("rate", "shortest"), [(0.5, 0.6), (3.0, 0.1), (0.0, 0.0)])
def test_rate_stretches_the_pace(node, camera_bag, rate, shortest):
    moments = []
    with BagReader(camera_bag) as reader:
        player = BagPlayer(node, reader, topics=["/camera/image"], rate=rate)
        assert player.play(lambda message: moments.append((message.time_ns, time.monotonic()))) == 4
        player.close()
    assert [recorded for recorded, _ in moments] == [START_NS + index * PERIOD_NS + 1 for index in range(4)]
    assert moments[-1][1] - moments[0][1] >= shortest * 0.999


def test_pace_of_the_header_stamps_when_receive_times_are_all_the_same(tmp_path, node):
    messages = [("/camera/camera_info", START_NS, camera_info(START_NS + index * PERIOD_NS)) for index in range(4)]
    bag = write_bag(tmp_path / "bag", messages)
    with BagReader(bag) as reader:
        moments = []
        player = BagPlayer(node, reader, pace="header")
        player.play(lambda message: moments.append((header_stamp_ns(message.data), time.monotonic())))
        player.close()
    for stamp, moment in moments:
        assert moment - moments[0][1] >= (stamp - START_NS) / 1e9 * 0.999
    assert len(moments) == 4


def test_by_header_stamps_messages_without_a_header_do_not_wait(tmp_path, node):
    region = camera_info(START_NS).roi
    messages = [("/region", START_NS + index * 3600 * 10**9, region) for index in range(3)]  # hours apart
    with BagReader(write_bag(tmp_path / "bag", messages)) as reader:
        player = BagPlayer(node, reader, pace="header")
        assert player.play() == 3
        player.close()


def test_nobody_listening_is_found_out_in_the_time_given(node, camera_bag):
    with BagReader(camera_bag) as reader:
        player = BagPlayer(node, reader, topics=["/camera/image"])
        start = time.monotonic()
        assert not player.wait_for_subscribers(0.3)
        assert time.monotonic() - start >= 0.3
        assert not player.wait_for_subscribers(60.0, keep_waiting=lambda: False)
        player.close()


def test_stop_ends_a_long_pause_at_once(node, camera_bag):
    with BagReader(camera_bag) as reader:
        player = BagPlayer(node, reader, topics=["/camera/image"], rate=0.0001)  # the second image is due in 17 minutes
        played = []
        thread = threading.Thread(target=lambda: played.append(player.play()))
        thread.start()
        time.sleep(0.2)
        player.stop()
        thread.join(timeout=20)
        assert played == [1]
        player.close()


def test_real_bags_are_played_and_types_that_are_not_installed_are_named(shared_real, node):
    with BagReader(shared_real / "bag_svo_mono_camerainfo" / "tiny_svo.bag") as reader:
        player = BagPlayer(node, reader, rate=0.0)
        assert player.skipped == ["/rosout (rosgraph_msgs/msg/Log)"]
        assert player.play() == 133
        player.close()


def test_bad_requests_are_bad_input(node, camera_bag):
    with BagReader(camera_bag) as reader:
        with pytest.raises(BadInput, match="has no topic /nothing: its topics are /camera/camera_info"):
            BagPlayer(node, reader, topics=["/nothing"])
        with pytest.raises(BadInput, match="rate is -1"):
            BagPlayer(node, reader, rate=-1.0)
        with pytest.raises(BadInput, match="rate is nan"):
            BagPlayer(node, reader, rate=float("nan"))
        with pytest.raises(BadInput, match="pace is 'wall'"):
            BagPlayer(node, reader, pace="wall")
    with pytest.raises(BadInput, match=r"my_msgs/msg/Thing is not installed"):
        player_module.message_class("my_msgs/msg/Thing")
