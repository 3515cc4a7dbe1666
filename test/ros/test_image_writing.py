"""Depth images read and written, colour images and matrices written."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: pip install 'clip_depth_ros[ros]', or source ROS 2")

from image_messages import make_image, some_pixels
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.depth_image import depth_metres
from clip_depth_ros.ros.images import colour_message, decode_image, depth_message, matrix_message

DEPTH = np.array([[0.5, np.nan, 1.2344], [1.2346, 65.535, 65.536], [0.0004, -2.0, np.inf]], np.float32)


@pytest.fixture
def header() -> Header:
    made = Header(frame_id="camera_optical_frame")
    made.stamp.sec, made.stamp.nanosec = 1363639135, 123456789
    return made


@pytest.mark.parametrize(("encoding", "big_endian"), [("16UC1", False), ("16UC1", True), ("mono16", False)])
def test_depth_in_millimetres_is_read_as_metres(encoding, big_endian):
    stored = np.array([[0, 1, 1234], [65535, 500, 0]], np.uint16)
    depth = depth_metres(make_image(encoding, stored, padding=3, big_endian=big_endian))
    assert depth.dtype == np.float32
    expected = np.array([[np.nan, 0.001, 1.234], [65.535, 0.5, np.nan]], np.float32)
    np.testing.assert_array_equal(depth, expected)


@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_in_metres_has_no_reading_where_it_is_no_positive_number(big_endian):
    message = make_image("32FC1", DEPTH, padding=6, big_endian=big_endian)
    before = bytes(message.data)
    depth = depth_metres(message)
    expected = np.where(np.isfinite(DEPTH) & (DEPTH > 0), DEPTH, np.nan)
    np.testing.assert_array_equal(depth, expected)
    depth[:] = 7
    assert bytes(message.data) == before


def test_depth_message_in_metres(header):
    message = depth_message(header, DEPTH, "32FC1")
    assert message.header is header
    assert (message.encoding, message.width, message.height) == ("32FC1", 3, 3)
    assert (message.step, message.is_bigendian) == (12, 0)
    np.testing.assert_array_equal(np.frombuffer(message.data, "<f4").reshape(3, 3), DEPTH)


def test_depth_message_in_millimetres(header):
    message = depth_message(header, DEPTH, "16UC1")
    assert (message.encoding, message.step, message.is_bigendian) == ("16UC1", 6, 0)
    stored = np.frombuffer(message.data, "<u2").reshape(3, 3)
    np.testing.assert_array_equal(stored, [[500, 0, 1234], [1235, 65535, 0], [0, 0, 0]])


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1"])
def test_depth_survives_the_way_there_and_back(header, encoding):
    depth = np.random.default_rng(5).integers(1, 65536, (48, 64)).astype(np.float32) / np.float32(1000)
    depth[::5, ::7] = np.nan
    received = deserialize_message(serialize_message(depth_message(header, depth, encoding)), Image)
    assert received.header == header
    np.testing.assert_array_equal(depth_metres(received), depth)


def test_depth_message_in_another_encoding(header):
    with pytest.raises(BadInput, match=r"'mono8'.* 32FC1, 16UC1"):
        depth_message(header, DEPTH, "mono8")


def test_colour_message_is_read_back(header):
    rgb = some_pixels("rgb8")
    message = colour_message(header, rgb)
    assert message.header is header
    assert (message.encoding, message.width, message.height) == ("rgb8", 24, 16)
    assert (message.step, message.is_bigendian) == (72, 0)
    np.testing.assert_array_equal(decode_image(deserialize_message(serialize_message(message), Image)), rgb)


def test_matrix_message_has_one_row_a_token(header):
    tokens = np.random.default_rng(6).normal(size=(197, 32)).astype(np.float32)
    message = matrix_message(header, tokens)
    assert message.header is header
    assert (message.encoding, message.width, message.height) == ("32FC1", 32, 197)
    assert (message.step, message.is_bigendian) == (128, 0)
    np.testing.assert_array_equal(np.frombuffer(message.data, "<f4").reshape(197, 32), tokens)


def test_arrays_in_any_memory_order_are_written_right(header):
    bgr = some_pixels("bgr8")
    np.testing.assert_array_equal(decode_image(colour_message(header, bgr[::2, ::-1, ::-1])), bgr[::2, ::-1, ::-1])
    depth = np.asfortranarray(np.random.default_rng(8).uniform(0.5, 9, (6, 10)).astype(np.float32))
    np.testing.assert_array_equal(depth_metres(depth_message(header, depth)), depth)


@pytest.mark.parametrize(
    ("make", "array_"),
    [
        (colour_message, np.zeros((4, 4), np.uint8)),
        (colour_message, np.zeros((4, 4, 4), np.uint8)),
        (colour_message, np.zeros((4, 4, 3), np.float32)),
        (depth_message, np.zeros((1, 4, 4), np.float32)),
        (depth_message, np.zeros((4, 4), np.float64)),
        (matrix_message, np.zeros(4, np.float32)),
    ],
)
def test_arrays_of_another_kind_are_a_mistake_of_the_caller(header, make, array_):
    with pytest.raises(ValueError, match="is needed"):
        make(header, array_)


WRITTEN_ONCE = """
import numpy as np
from std_msgs.msg import Header
from clip_depth_ros.replay.depth_image import depth_metres
from clip_depth_ros.ros.images import colour_message, decode_image, matrix_message
rgb = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
message = colour_message(Header(frame_id="camera"), rgb)
assert decode_image(message).tolist() == rgb.tolist()
stored = bytes(message.data)
rgb[:] = 0
assert bytes(message.data) == stored, "the message must not change with the array it was made of"
matrix = np.ones((2, 3), np.float32)
assert np.frombuffer(matrix_message(Header(), matrix).data, np.float32).tolist() == [1.0] * 6
"""


@pytest.mark.parametrize("checks", ["0", "1"])
def test_messages_are_right_with_and_without_field_checks(checks):
    environment = {**os.environ, "ROS_PYTHON_CHECK_FIELDS": checks}
    subprocess.run([sys.executable, "-c", WRITTEN_ONCE], env=environment, check=True, timeout=60)
