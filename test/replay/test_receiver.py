from __future__ import annotations

import time

import pytest
from recordings import IMAGE_TYPE, TYPES, camera_messages

from clip_depth_ros.replay.messages import BagMessage, header_stamp_ns

receiver_module = pytest.importorskip("clip_depth_ros.replay.receiver", reason="needs rclpy")


def test_what_is_put_aside_comes_back_in_order_and_can_be_forgotten(tmp_path):
    spool = receiver_module.Spool(tmp_path)
    messages = [BagMessage(f"/{index}", "a/msg/B", index, bytes([index]) * (10 * index)) for index in range(4)]
    spool.add("/old", "a/msg/B", 0, b"old" * 1000)
    spool.clear()
    assert len(spool) == 0
    for one in messages:
        spool.add(one.topic, one.type, one.time_ns, one.data)
    assert list(spool.messages()) == messages
    assert list(spool.messages()) == messages
    spool.close()
    assert list(tmp_path.iterdir()) == []


class _Link:
    """A receiver and a publisher in one context."""

    def __init__(self, context, spool):
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from sensor_msgs.msg import Image

        self.stamps = []
        self.node = Node("receiver_test", context=context)
        self.receiver = receiver_module.ResultReceiver(
            self.node, {"/image": IMAGE_TYPE}, spool, lambda topic, stamp: self.stamps.append((topic, stamp))
        )
        self.publisher = self.node.create_publisher(Image, "/image", 10)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.until(self.publisher.get_subscription_count)

    def until(self, condition):
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            self.executor.spin_once(timeout_sec=0.05)

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()


def _raw(count):
    images = [message for topic, _, message in camera_messages(count) if topic == "/camera/image"]
    return [bytes(TYPES.serialize_cdr(one, IMAGE_TYPE)) for one in images]


def test_messages_arrive_with_their_bytes_their_stamps_and_are_counted(tmp_path, ros_context):
    spool = receiver_module.Spool(tmp_path)
    link = _Link(ros_context, spool)
    sent = _raw(3)
    before = time.time_ns()
    for one in sent:
        link.publisher.publish(one)
    link.until(lambda: link.receiver.counts.get("/image") == 3)
    kept = list(spool.messages())
    assert [one.data for one in kept] == sent
    assert {(one.topic, one.type) for one in kept} == {("/image", IMAGE_TYPE)}
    assert all(before <= one.time_ns <= time.time_ns() for one in kept)
    assert link.stamps == [("/image", header_stamp_ns(one)) for one in sent]
    link.receiver.restart()
    assert link.receiver.counts == {}
    assert len(spool) == 0
    link.close()


def test_a_message_that_cannot_be_kept_is_a_failure_and_not_the_end(tmp_path, ros_context):
    spool = receiver_module.Spool(tmp_path)
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
        spool.close()
        spool._file = full
        link = _Link(ros_context, spool)
        for one in _raw(2):
            link.publisher.publish(one)
        link.until(lambda: len(link.stamps) == 2)
        assert link.receiver.failure is not None
        assert link.receiver.failure.strerror == "No space left on device"
        link.close()
