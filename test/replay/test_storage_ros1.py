from __future__ import annotations

import numpy as np
import pytest
from recordings import PERIOD_NS, START_NS
from rosbags.rosbag1 import Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.messages import header_stamp_ns
from clip_depth_ros.replay.reader import BagReader

TYPES = get_typestore(Stores.ROS1_NOETIC)
IMAGE = "sensor_msgs/msg/Image"
PIXELS = np.arange(24 * 32 * 3, dtype=np.uint32).astype(np.uint8)


def _header(stamp_ns: int, sequence: int):
    time = TYPES.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9))
    return TYPES.types["std_msgs/msg/Header"](sequence, time, "camera")


def _write(path, compression=None, extra=()):
    """Four images, then ``extra``: (topic, message, typestore)."""
    writer = Writer(path)
    if compression:
        writer.set_compression(compression)
    with writer:
        connection = writer.add_connection("/camera/image", IMAGE, typestore=TYPES)
        for index in range(4):
            stamp = START_NS + index * PERIOD_NS
            image = TYPES.types[IMAGE](_header(stamp, index), 24, 32, "rgb8", 0, 96, np.roll(PIXELS, index))
            writer.write(connection, stamp + 5, TYPES.serialize_ros1(image, IMAGE))
        for topic, message, store in extra:
            other = writer.add_connection(topic, message.__msgtype__, typestore=store)
            writer.write(other, START_NS, store.serialize_ros1(message, message.__msgtype__))
    return path


@pytest.mark.parametrize("compression", [None, Writer.CompressionFormat.BZ2, Writer.CompressionFormat.LZ4])
def test_images_of_every_compression_become_ros_2_messages(tmp_path, compression):
    with BagReader(_write(tmp_path / "old.bag", compression)) as reader:
        messages = list(reader.messages())
        assert [one.time_ns for one in messages] == [START_NS + index * PERIOD_NS + 5 for index in range(4)]
        for index, one in enumerate(messages):
            image = reader.decode(one)
            assert header_stamp_ns(one.data) == START_NS + index * PERIOD_NS
            assert (image.header.frame_id, image.encoding, image.step) == ("camera", "rgb8", 96)
            np.testing.assert_array_equal(image.data, np.roll(PIXELS, index))
        assert reader.warnings == []


def test_a_type_of_the_bag_s_own_is_read(tmp_path):
    own = get_typestore(Stores.ROS1_NOETIC)
    own.register(get_types_from_msg("std_msgs/Header header\nfloat32[] values", "my_msgs/msg/Values"))
    values = own.types["my_msgs/msg/Values"](_header(START_NS, 1), np.array([1.5, 2.5], np.float32))
    with BagReader(_write(tmp_path / "old.bag", extra=[("/values", values, own)])) as reader:
        found = reader.decode(next(reader.messages(["/values"])))
        np.testing.assert_array_equal(found.values, [1.5, 2.5])
        assert found.header.stamp.sec == START_NS // 10**9


def test_a_type_ros_2_has_with_other_fields_is_left_out(tmp_path):
    # ROS 1's Imu of a bag that was recorded with a changed definition.
    other = get_typestore(Stores.EMPTY)
    other.register(get_types_from_msg("float32 temperature", "sensor_msgs/msg/Imu"))
    imu = other.types["sensor_msgs/msg/Imu"](20.0)
    with BagReader(_write(tmp_path / "old.bag", extra=[("/imu", imu, other)])) as reader:
        assert list(reader.topics) == ["/camera/image"]
        assert reader.warnings == ["/imu is left out: ROS 2 has other fields in sensor_msgs/msg/Imu."]


def test_a_bag_that_was_never_closed_is_bad_input(tmp_path):
    path = _write(tmp_path / "old.bag")
    content = bytearray(path.read_bytes())
    # The header record's index_pos is 0 until recording ends.
    at = content.index(b"index_pos=") + len(b"index_pos=")
    content[at : at + 8] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(BadInput, match="rosbag reindex"):
        BagReader(path)


@pytest.mark.parametrize("fraction", [0.2, 0.6, 0.95])
def test_a_cut_off_bag_is_bad_input(tmp_path, fraction):
    path = _write(tmp_path / "old.bag")
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(BadInput, match="cannot be read as a ROS 1 bag"):
        BagReader(path)
