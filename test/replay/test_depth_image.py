from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from recordings import image

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.depth_image import depth_metres


def test_float_metres_keep_their_values_and_lose_what_is_no_depth():
    depth = np.array([[1.5, np.nan, 0.0], [-2.0, np.inf, 80.25]], np.float32)
    found = depth_metres(image(0, depth, "32FC1"))
    np.testing.assert_array_equal(found, np.array([[1.5, np.nan, np.nan], [np.nan, np.nan, 80.25]], np.float32))


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_millimetres_with_padding_and_either_byte_order(encoding):
    values = np.array([[0, 1, 1500], [65535, 256, 2]], np.uint16)
    expected = np.where(values == 0, np.nan, values / 1000.0).astype(np.float32)
    for big in (False, True):
        rows = np.zeros((2, 10), np.uint8)
        rows[:, :6] = values.astype(">u2" if big else "<u2").view(np.uint8)
        message = SimpleNamespace(
            encoding=encoding, is_bigendian=int(big), width=3, height=2, step=10, data=rows.reshape(-1)
        )
        np.testing.assert_allclose(depth_metres(message), expected, rtol=1e-6)


def test_a_ros_message_is_read_like_rosbags_object():
    messages = pytest.importorskip("sensor_msgs.msg", reason="needs sensor_msgs")
    depth = np.array([[1.0, 2.0]], np.float32)
    message = messages.Image(height=1, width=2, encoding="32FC1", step=8)
    message.data.frombytes(depth.tobytes())
    np.testing.assert_array_equal(depth_metres(message), depth)


def test_what_is_no_depth_image_is_refused():
    with pytest.raises(BadInput, match="encoded as rgb8"):
        depth_metres(image(0, np.zeros((2, 2, 3), np.uint8), "rgb8"))
    message = image(0, np.ones((2, 2), np.float32), "32FC1")
    message.data = message.data[:-1]
    with pytest.raises(BadInput, match="has 15 bytes"):
        depth_metres(message)
