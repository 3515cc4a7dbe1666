from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from recordings import camera_messages, write_bag

pytest.importorskip("rclpy", reason="needs rclpy")
LISTENER = str(Path(__file__).with_name("listener.py"))
NODE = ["-m", "clip_depth_ros.replay.replay_node", "--ros-args"]
IMAGE = "sensor_msgs/msg/Image"


def _finish(process, expected=0):
    output, errors = process.communicate(timeout=60)
    assert process.returncode == expected, errors
    return output, errors


def test_it_plays_the_topics_asked_for_and_ends(camera_bag, start_process, dds_environment):
    listener = start_process(
        [LISTENER, "30", "8", f"/camera/image={IMAGE}", f"/camera/depth/image={IMAGE}"], dds_environment
    )
    assert listener.stdout.readline() == "ready\n"
    node = start_process(
        [*NODE, "-p", f"bag:={camera_bag}", "-p", "topics:=['/camera/image', '/camera/depth/image']", "-p", "rate:=2"],
        dds_environment,
    )
    _, errors = _finish(node)
    heard = [json.loads(line) for line in _finish(listener)[0].splitlines()]
    assert sorted(one["topic"] for one in heard) == ["/camera/depth/image"] * 4 + ["/camera/image"] * 4
    assert "/camera/camera_info" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_loop_goes_on_until_a_signal_and_ends_well(tmp_path, start_process, dds_environment, number):
    bag = write_bag(tmp_path / "bag", camera_messages(2))
    listener = start_process([LISTENER, "30", "7", f"/camera/image={IMAGE}"], dds_environment)
    assert listener.stdout.readline() == "ready\n"
    node = start_process([*NODE, "-p", f"bag:={bag}", "-p", "loop:=true"], dds_environment)
    heard = [json.loads(line)["stamp"] for line in _finish(listener)[0].splitlines()]
    assert len(heard) == 7
    assert len(set(heard)) == 2
    assert node.poll() is None
    node.send_signal(number)
    _, errors = _finish(node)
    assert "Traceback" not in errors
    assert "invalid" not in errors


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ([], "parameter bag is empty"),
        (["bag:=/no/such/bag"], "/no/such/bag does not exist"),
        (["bag:={bag}", "rate:=-1.0"], "parameter rate is -1.0"),
        (["bag:={bag}", "rate:=fast"], "parameter rate is 'fast'"),
        (["bag:={bag}", "loop:=7"], "A parameter of replay_node is not accepted"),
        (["bag:={bag}", "topics:=['/nothing']"], "has no topic /nothing"),
        (["bag:={bag}", "pace:=wall"], "pace is 'wall'"),
    ],
)
def test_bad_parameters_are_one_sentence_and_exit_code_2(
    camera_bag, start_process, dds_environment, parameters, sentence
):
    arguments = [part for one in parameters for part in ("-p", one.format(bag=camera_bag))]
    _, errors = _finish(start_process([*NODE, *arguments], dds_environment), expected=2)
    assert sentence in errors
    assert "Traceback" not in errors


def test_its_parameters_describe_themselves(ros_context, camera_bag):
    from rclpy.parameter import Parameter

    from clip_depth_ros.replay import replay_node

    node = replay_node.ReplayNode(context=ros_context, parameter_overrides=[Parameter("bag", value=str(camera_bag))])
    for name, _, description in replay_node._PARAMETERS:
        descriptor = node.describe_parameter(name)
        assert descriptor.description == description
        assert descriptor.read_only
    node.close()
