from __future__ import annotations

import pytest
from recordings import START_NS, TYPES, camera_messages

from clip_depth_ros.replay.messages import header_stamp_ns, normalise_type, with_header_stamp


def _image_bytes():
    return bytes(TYPES.serialize_cdr(camera_messages(1)[1][2], "sensor_msgs/msg/Image"))


@pytest.mark.parametrize("little_endian", [True, False])
def test_stamp_is_read_in_either_byte_order(little_endian):
    message = camera_messages(1)[1][2]
    data = bytes(TYPES.serialize_cdr(message, "sensor_msgs/msg/Image", little_endian=little_endian))
    assert header_stamp_ns(data) == START_NS
    changed = with_header_stamp(data, 12_000_000_034)
    assert header_stamp_ns(changed) == 12_000_000_034
    decoded = TYPES.deserialize_cdr(changed, "sensor_msgs/msg/Image")
    assert (decoded.header.stamp.sec, decoded.header.stamp.nanosec) == (12, 34)
    assert decoded.header.frame_id == message.header.frame_id


def test_only_the_stamp_changes():
    data = _image_bytes()
    changed = with_header_stamp(data, 5)
    assert changed[:4] + changed[12:] == data[:4] + data[12:]
    assert with_header_stamp(changed, START_NS) == data


def test_a_message_too_short_for_a_stamp_is_refused():
    with pytest.raises(ValueError, match="holds no header"):
        header_stamp_ns(b"\x00\x01\x00\x00\x01")


def test_types_are_named_in_one_way():
    assert normalise_type("sensor_msgs/Image") == "sensor_msgs/msg/Image"
    assert normalise_type("sensor_msgs/msg/Image") == "sensor_msgs/msg/Image"
