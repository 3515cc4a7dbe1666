from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from recordings import START_NS, TYPES, camera_messages, image
from rosbags.highlevel import AnyReader

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.writer import BagWriter


def _write(path: Path, frames: int = 3, **options) -> Path:
    with BagWriter(path, **options) as writer:
        for topic, time_ns, message in camera_messages(frames):
            writer.write_message(topic, time_ns, message)
    return path


def test_what_is_written_is_read_back(tmp_path):
    path = _write(tmp_path / "bag")
    with BagReader(path) as reader:
        found = list(reader.messages())
        assert [(one.topic, one.time_ns) for one in found] == [(topic, time) for topic, time, _ in camera_messages(3)]
        for one, (_, _, message) in zip(found, camera_messages(3), strict=True):
            assert one.data == bytes(TYPES.serialize_cdr(message, message.__msgtype__))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["bag"]


def test_raw_bytes_stay_as_they_are(tmp_path, camera_bag):
    with BagReader(camera_bag) as source, BagWriter(tmp_path / "copy") as writer:
        messages = list(source.messages())
        for one in messages:
            writer.write(one.topic, one.type, one.time_ns, one.data)
    with BagReader(tmp_path / "copy") as copy:
        assert list(copy.messages()) == messages


def test_bag_is_what_ros2_bag_expects(tmp_path):
    path = _write(tmp_path / "bag")
    assert sorted(item.name for item in path.iterdir()) == ["bag.mcap", "metadata.yaml"]
    information = yaml.safe_load((path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["storage_identifier"] == "mcap"
    assert information["relative_file_paths"] == ["bag.mcap"]
    assert information["message_count"] == 9
    assert information["version"] == 8
    for topic in information["topics_with_message_count"]:
        assert topic["topic_metadata"]["serialization_format"] == "cdr"
        assert isinstance(topic["topic_metadata"]["offered_qos_profiles"], str)
    with (path / "bag.mcap").open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        assert {schema.name for schema in summary.schemas.values()} == {
            "sensor_msgs/msg/Image",
            "sensor_msgs/msg/CameraInfo",
        }
        for schema in summary.schemas.values():
            assert schema.encoding == "ros2msg"
            assert b"MSG: std_msgs/Header" in schema.data
        assert {channel.message_encoding for channel in summary.channels.values()} == {"cdr"}
        assert {chunk.compression for chunk in summary.chunk_indexes} == {"zstd"}
        assert len(list(reader.iter_messages())) == 9


def test_other_readers_open_it(tmp_path):
    with AnyReader([_write(tmp_path / "bag")]) as reader:
        connection, time_ns, raw = next(reader.messages())
        assert (connection.topic, time_ns) == ("/camera/camera_info", START_NS)
        assert reader.deserialize(raw, connection.msgtype).k[0] == 30.0


def test_an_existing_bag_is_not_overwritten_without_being_told(tmp_path):
    path = _write(tmp_path / "bag", frames=1)
    before = (path / "bag.mcap").read_bytes()
    with pytest.raises(BadInput, match="exists already"):
        BagWriter(path)
    assert (path / "bag.mcap").read_bytes() == before
    _write(path, frames=4, overwrite=True)
    with BagReader(path) as reader:
        assert reader.topics["/camera/image"].count == 4
    assert sorted(item.name for item in tmp_path.iterdir()) == ["bag"]


def test_what_is_no_bag_is_never_overwritten(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "one.png").write_bytes(b"x")
    with pytest.raises(BadInput, match="not a bag"):
        BagWriter(folder, overwrite=True)
    assert (folder / "one.png").exists()


def test_an_exception_leaves_nothing_and_keeps_the_old_bag(tmp_path):
    path = _write(tmp_path / "bag", frames=2)

    def interrupted(target, **options):
        with BagWriter(target, **options) as writer:
            writer.write_message(*camera_messages(1)[0])
            raise KeyboardInterrupt

    for target in (tmp_path / "new", path):
        with pytest.raises(KeyboardInterrupt):
            interrupted(target, overwrite=True)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["bag"]
    with BagReader(path) as reader:
        assert reader.topics["/camera/image"].count == 2


def test_nothing_is_seen_under_the_name_before_it_is_complete(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_message(*camera_messages(1)[0])
        assert not (tmp_path / "bag").exists()
    assert (tmp_path / "bag").exists()


def test_a_type_ros_does_not_have_and_a_second_type_are_refused(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        with pytest.raises(BadInput, match="my_msgs/msg/Thing"):
            writer.write("/thing", "my_msgs/msg/Thing", 0, b"")
        writer.write_message(*camera_messages(1)[0])
        with pytest.raises(BadInput, match="cannot take a sensor_msgs/msg/Image as well"):
            writer.write("/camera/camera_info", "sensor_msgs/msg/Image", 0, b"")


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cannot be written"):
        BagWriter(tmp_path / "file" / "bag")


def test_big_images_come_back_whole(tmp_path):
    pixels = np.arange(1080 * 1920 * 3, dtype=np.uint32).astype(np.uint8).reshape(1080, 1920, 3)

    with BagWriter(tmp_path / "bag") as writer:
        for index in range(3):
            writer.write_message("/image", index, image(index, pixels, "rgb8"))
    with BagReader(tmp_path / "bag") as reader:
        for message in reader.messages():
            np.testing.assert_array_equal(reader.decode(message).data, pixels.reshape(-1))


FULL_DISK = """
import resource, sys
import numpy as np
from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.writer import BagWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
noise = np.random.default_rng(0).integers(0, 255, 200_000, dtype=np.uint8)
try:
    with BagWriter(sys.argv[1]) as writer:
        image = writer.typestore.types["sensor_msgs/msg/Image"]
        header = writer.typestore.types["std_msgs/msg/Header"]
        time = writer.typestore.types["builtin_interfaces/msg/Time"]
        for index in range(20):
            row = image(header(time(index, 0), ""), 1, 200_000, "mono8", 0, 200_000, noise)
            writer.write_message("/image", index, row)
except BadInput as error:
    print(error)
"""


def test_a_full_disk_is_bad_input_and_leaves_nothing(tmp_path):
    # A limit on the size of files fails as a full disk does: by an OSError while writing.
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "bag")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "cannot be written (File too large): free some space" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
