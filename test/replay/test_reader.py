from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import yaml
import zstandard
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from recordings import PERIOD_NS, START_NS, TYPES, camera_messages, write_bag

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.messages import header_stamp_ns
from clip_depth_ros.replay.reader import BagReader


def _serialised(messages):
    return [(topic, time, bytes(TYPES.serialize_cdr(one, one.__msgtype__))) for topic, time, one in messages]


def _read(path):
    with BagReader(path) as reader:
        return [(one.topic, one.time_ns, one.data) for one in reader.messages()], reader.warnings


def _write_mcap(path: Path, compression: CompressionType, *, chunked: bool = True, index: bool = True) -> Path:
    """Writes a bare .mcap with the mcap library, in chunks of a message or two."""
    with path.open("wb") as stream:
        options = {} if index else {"index_types": IndexType.NONE, "use_statistics": False}
        writer = McapWriter(stream, chunk_size=1500, compression=compression, use_chunking=chunked, **options)
        writer.start(profile="ros2")
        channels = {}
        for topic, time, message in camera_messages():
            kind = message.__msgtype__
            if topic not in channels:
                text = TYPES.generate_msgdef(kind, ros_version=2)[0].encode()
                schema = writer.register_schema(kind, "ros2msg", text)
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            data = bytes(TYPES.serialize_cdr(message, kind))
            writer.add_message(channels[topic], time, data, time)
        writer.finish()
    return path


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize(
    ("storage", "compression"),
    [*((storage, how) for storage in ("MCAP", "SQLITE3") for how in ("NONE", "FILE", "MESSAGE")), ("MCAP", "STORAGE")],
)
def test_every_storage_and_compression_gives_the_same_bytes(tmp_path, storage, compression, version):
    messages = camera_messages()
    path = write_bag(tmp_path / "bag", messages, storage, compression, version)
    found, warnings = _read(path)
    assert found == _serialised(messages)
    assert warnings == []


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
@pytest.mark.parametrize("compression", ["FILE", "MESSAGE"])
def test_compressed_bag_without_metadata_is_recognised_by_its_bytes(tmp_path, storage, compression):
    path = write_bag(tmp_path / "bag", camera_messages(), storage, compression)
    (path / "metadata.yaml").unlink()
    assert _read(path)[0] == _serialised(camera_messages())
    (file,) = path.iterdir()
    assert _read(file)[0] == _serialised(camera_messages())


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("index", [True, False])
def test_bare_mcap_with_and_without_chunks_and_index(tmp_path, compression, chunked, index):
    path = _write_mcap(tmp_path / "one.mcap", compression, chunked=chunked, index=index)
    assert _read(path) == (_serialised(camera_messages()), [])


def test_plain_folder_without_metadata_is_read_from_its_files_in_their_order(tmp_path):
    folder = _split(tmp_path, [0, 1, 2])
    (folder / "metadata.yaml").unlink()
    (folder / "notes.txt").write_text("taken in the hall")
    (folder / "older.bag").mkdir()  # a folder that is called like a file
    assert _read(folder) == (_serialised(camera_messages()), [])


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
@pytest.mark.parametrize("compression", ["FILE", "MESSAGE"])
def test_compressed_splits_are_read_as_one(tmp_path, storage, compression):
    folder = tmp_path / "split"
    folder.mkdir()
    messages = camera_messages()
    for part in range(3):
        bag = write_bag(tmp_path / f"part_{part}", messages[4 * part : 4 * part + 4], storage, compression)
        (file,) = (one for one in bag.iterdir() if one.name != "metadata.yaml")
        shutil.copy(file, folder / file.name)
    names = sorted(file.name for file in folder.iterdir())
    metadata = {"rosbag2_bagfile_information": {"relative_file_paths": [f"split/{name}" for name in names]}}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    assert _read(folder) == (_serialised(messages), [])


def test_a_file_listed_twice_is_read_once(tmp_path):
    assert _read(_split(tmp_path, [0, 1, 1, 2])) == (_serialised(camera_messages()), [])


def test_one_of_several_files_cut_off_gives_the_others_and_says_so(tmp_path):
    folder = _split(tmp_path, [0, 1, 2])
    cut = folder / "split_1.mcap"
    cut.write_bytes(cut.read_bytes()[:200])
    with BagReader(folder) as reader:
        found = [(one.topic, one.time_ns, one.data) for one in reader.messages()]
        assert found == _serialised(camera_messages())[:4] + _serialised(camera_messages())[8:]
        (sentence,) = reader.damage
        assert sentence.startswith("split_1.mcap is cut off or damaged at byte")
        assert reader.warnings == [sentence]


def test_absent_files_are_no_damage(tmp_path):
    folder = _split(tmp_path, [0, 1, 2])
    (folder / "split_2.mcap").unlink()
    with BagReader(folder) as reader:
        assert len(reader.warnings) == 1
        assert reader.damage == []


@pytest.mark.parametrize("fraction", [0.2, 0.7])
def test_a_cut_off_compressed_file_is_named_by_its_own_name(tmp_path, fraction):
    path = write_bag(tmp_path / "bag", camera_messages(40), "SQLITE3", "FILE")
    (file,) = (one for one in path.iterdir() if one.name != "metadata.yaml")
    content = file.read_bytes()
    file.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(BadInput) as caught:
        BagReader(path)
    assert str(file) in str(caught.value)
    assert "clip_depth_bag_" not in str(caught.value)


def test_folder_with_damaged_metadata_is_read_from_its_files(camera_bag):
    (camera_bag / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    found, warnings = _read(camera_bag)
    assert found == _serialised(camera_messages())
    assert len(warnings) == 1
    assert "metadata.yaml is damaged" in warnings[0]


def _split(tmp_path: Path, order: list[int]) -> Path:
    """A bag in three files of four messages, listed in ``order``."""
    folder = tmp_path / "split"
    folder.mkdir()
    messages = camera_messages()
    for part in range(3):
        bag = write_bag(tmp_path / f"part_{part}", messages[4 * part : 4 * part + 4])
        shutil.copy(bag / f"part_{part}.mcap", folder / f"split_{part}.mcap")
    listed = [f"split_{part}.mcap" for part in order]
    metadata = {"rosbag2_bagfile_information": {"relative_file_paths": listed}}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    return folder


def test_split_files_come_out_in_time_order_whatever_their_order(tmp_path):
    found, warnings = _read(_split(tmp_path, [2, 0, 1]))
    assert found == _serialised(camera_messages())
    assert warnings == []


def test_absent_files_are_reported_and_the_others_read(tmp_path):
    folder = _split(tmp_path, [0, 1, 2])
    (folder / "split_1.mcap").unlink()
    found, warnings = _read(folder)
    messages = _serialised(camera_messages())
    assert found == messages[:4] + messages[8:]
    assert warnings == ["metadata.yaml lists 1 absent file(s), read without them: split_1.mcap."]


def test_files_that_overlap_in_time_are_merged(tmp_path):
    folder = tmp_path / "overlap"
    folder.mkdir()
    messages = camera_messages()
    for part, some in enumerate((messages[0::2], messages[1::2])):
        shutil.copy(write_bag(tmp_path / f"p{part}", some) / f"p{part}.mcap", folder / f"{part}.mcap")
    assert _read(folder)[0] == _serialised(messages)


def test_only_the_topics_asked_for(camera_bag):
    with BagReader(camera_bag) as reader:
        assert [one.topic for one in reader.messages(["/camera/image"])] == ["/camera/image"] * 4
        assert list(reader.messages(["/nothing"])) == []


def test_two_readings_at_once_do_not_disturb_each_other(camera_bag):
    with BagReader(camera_bag) as reader:
        pairs = list(zip(reader.messages(["/camera/image"]), reader.messages(["/camera/depth/image"]), strict=True))
        assert [header_stamp_ns(one.data) for one, _ in pairs] == [header_stamp_ns(two.data) for _, two in pairs]


def test_topics_times_and_decoding(camera_bag):
    with BagReader(camera_bag) as reader:
        assert {name: (topic.type, topic.count) for name, topic in reader.topics.items()} == {
            "/camera/camera_info": ("sensor_msgs/msg/CameraInfo", 4),
            "/camera/depth/image": ("sensor_msgs/msg/Image", 4),
            "/camera/image": ("sensor_msgs/msg/Image", 4),
        }
        assert reader.start_ns == START_NS
        assert reader.duration_s == pytest.approx((3 * PERIOD_NS + 2) / 1e9)
        first = next(reader.messages(["/camera/image"]))
        decoded = reader.decode(first)
        assert decoded.encoding == "rgb8"
        np.testing.assert_array_equal(decoded.data, camera_messages()[1][2].data)
        assert header_stamp_ns(first.data) == START_NS


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("compression", list(CompressionType))
def test_cut_off_mcap_gives_what_is_whole_and_says_where_it_ended(tmp_path, fraction, compression):
    whole = _write_mcap(tmp_path / "whole.mcap", compression)
    content = whole.read_bytes()
    with whole.open("rb") as stream:
        chunks = make_reader(stream).get_summary().chunk_indexes
    end = chunks[0].chunk_start_offset + int(
        fraction * (chunks[-1].chunk_start_offset + chunks[-1].chunk_length - chunks[0].chunk_start_offset)
    )
    readable = [one for one in chunks if one.chunk_start_offset + one.chunk_length <= end]
    assert readable, "the cut leaves nothing: a test of nothing"
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(content[:end])
    found, warnings = _read(cut)
    last = max(one.message_end_time for one in readable)
    assert found == [one for one in _serialised(camera_messages()) if one[1] <= last]
    assert len(warnings) == 1
    assert f"{len(found)} messages" in warnings[0]
    assert "cut.mcap is cut off or damaged at byte" in warnings[0]
    with BagReader(cut) as reader:
        assert reader.damage == warnings


def test_damaged_chunk_in_an_indexed_mcap_is_told_and_ends_the_reading(tmp_path):
    path = _write_mcap(tmp_path / "one.mcap", CompressionType.ZSTD)
    with path.open("rb") as stream:
        chunk = make_reader(stream).get_summary().chunk_indexes[-1]
    content = bytearray(path.read_bytes())
    middle = chunk.chunk_start_offset + 60
    content[middle : middle + 40] = b"\xff" * 40
    path.write_bytes(content)
    found, warnings = _read(path)
    assert found == _serialised(camera_messages())[: len(found)]
    assert 0 < len(found) < 12
    assert len(warnings) == 1
    assert "damaged chunk" in warnings[0]


def test_mcap_cut_off_before_its_first_message_is_bad_input(tmp_path):
    whole = _write_mcap(tmp_path / "whole.mcap", CompressionType.ZSTD)
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[:100])
    with pytest.raises(BadInput, match=r"holds no message.*cut off or damaged at byte"):
        BagReader(cut)


def test_cut_off_database_is_bad_input(tmp_path):
    path = write_bag(tmp_path / "bag", camera_messages(), "SQLITE3") / "bag.db3"
    content = path.read_bytes()
    path.write_bytes(content[: int(0.7 * len(content))])
    with pytest.raises(BadInput, match=r"cannot be read as a bag \(database disk image is malformed\)"):
        BagReader(path)


def test_database_with_a_lost_page_gives_the_rest(tmp_path):
    messages = camera_messages(50)
    path = write_bag(tmp_path / "bag", messages, "SQLITE3") / "bag.db3"
    content = path.read_bytes()
    path.write_bytes(content[: int(0.99 * len(content))])
    found, warnings = _read(path)
    assert 140 < len(found) < 150
    assert set(found) < set(_serialised(messages))
    assert warnings == [
        "bag.db3 is damaged: some messages in it are lost.",
        "bag.db3 is damaged: reading ended there (database disk image is malformed).",
    ]


def test_interrupted_recording_is_read_with_its_journal(tmp_path):
    path = write_bag(tmp_path / "bag", camera_messages(), "SQLITE3") / "bag.db3"
    live = sqlite3.connect(path)
    live.execute("PRAGMA journal_mode=WAL")
    live.execute("PRAGMA wal_autocheckpoint=0")
    topic = live.execute("SELECT id FROM topics WHERE name = '/camera/image'").fetchone()[0]
    data = live.execute("SELECT data FROM messages WHERE topic_id = ?", (topic,)).fetchone()[0]
    later = START_NS + 60 * 10**9
    live.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", (topic, later, data))
    live.commit()
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in path.parent.glob("bag.db3*"):
        shutil.copy(file, copy)
    live.close()
    assert (copy / "bag.db3-wal").stat().st_size
    with BagReader(copy / "bag.db3") as reader:
        assert reader.topics["/camera/image"].count == 5
        assert [one.time_ns for one in reader.messages()][-1] == later


def test_what_is_no_bag_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        BagReader(tmp_path / "absent")
    text = tmp_path / "notes.mcap"
    text.write_text("not a bag")
    with pytest.raises(BadInput, match=r"notes\.mcap is not a bag"):
        BagReader(text)
    nothing = tmp_path / "nothing.db3"
    nothing.touch()
    with pytest.raises(BadInput, match=r"nothing\.db3 is empty"):
        BagReader(nothing)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: {relative_file_paths: [gone.mcap]}")
    with pytest.raises(BadInput, match=r"holds no \.mcap"):
        BagReader(folder)
    database = tmp_path / "other.db3"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
    with pytest.raises(BadInput, match="cannot be read as a bag"):
        BagReader(database)
    broken = tmp_path / "broken.mcap.zstd"
    broken.write_bytes(zstandard.compress(b"x" * 5000)[:20])
    with pytest.raises(BadInput, match="broken"):
        BagReader(broken)
    old = tmp_path / "old.bag"
    old.write_bytes(b"#ROSBAG V2.0\n" + bytes(30))
    with pytest.raises(BadInput, match="ROS 1 bag"):
        BagReader(old)


@pytest.mark.parametrize("storage", ["MCAP", "SQLITE3"])
def test_empty_bag_is_bad_input(tmp_path, storage):
    path = write_bag(tmp_path / "empty", [], storage)
    with pytest.raises(BadInput, match="holds no message"):
        BagReader(path)


def test_a_bag_without_images_says_what_it_has(tmp_path):
    only_info = [one for one in camera_messages() if one[0].endswith("camera_info")]
    with BagReader(write_bag(tmp_path / "bag", only_info)) as reader:
        with pytest.raises(
            BadInput, match=r"has no image topic: its topics are /camera/camera_info \(.*CameraInfo, 4\)"
        ):
            reader.require_topic("image")
        with pytest.raises(BadInput, match="is a sensor_msgs/msg/CameraInfo, but image is expected"):
            reader.require_topic("image", "/camera/camera_info")


def test_messages_that_are_not_ros_2_are_left_out_and_named(tmp_path):
    path = tmp_path / "foreign.mcap"
    with path.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start()
        schema = writer.register_schema("foxglove.Log", "jsonschema", b"{}")
        writer.add_message(writer.register_channel("/log", "json", schema), 1, b"{}", 1)
        writer.finish()
    with pytest.raises(BadInput, match=r"left out: /log \(json\)"):
        BagReader(path)


def test_a_message_that_is_not_whole_cannot_be_decoded(camera_bag):
    with BagReader(camera_bag) as reader:
        message = next(reader.messages(["/camera/image"]))
        short = type(message)(message.topic, message.type, message.time_ns, message.data[:40])
        with pytest.raises(BadInput, match="not a whole sensor_msgs/msg/Image"):
            reader.decode(short)
        with pytest.raises(BadInput, match="does not define"):
            reader.decode(type(message)(message.topic, "no_such/msg/Thing", 0, message.data))


def test_real_mcap_with_zstd_messages_and_absent_files(shared_real):
    with BagReader(shared_real / "bag_soccer_rgb8_mislabelled") as reader:
        (topic,) = reader.topics.values()
        assert (topic.name, topic.type, topic.count) == ("/camera/image_raw", "sensor_msgs/msg/Image", 2)
        assert len(reader.warnings) == 1
        assert "12 absent" in reader.warnings[0]
        times = []
        for message in reader.messages():
            picture = reader.decode(message)
            assert (picture.width, picture.height, picture.encoding) == (640, 480, "rgb8")
            assert picture.data.size == 640 * 480 * 3
            assert picture.data.std() > 10
            times.append(message.time_ns)
        assert times == [8297777777, 8331088888]


def test_real_ros1_bag_gives_the_bytes_of_its_conversion(shared_real):
    folder = shared_real / "bag_svo_mono_camerainfo"
    with BagReader(folder / "tiny_svo.bag") as old, BagReader(folder / "ros2_mcap") as new:
        assert set(old.topics) - set(new.topics) == {"/rosout"}
        for name, topic in new.topics.items():
            assert old.topics[name] == topic
        converted = [(one.topic, one.time_ns, one.data) for one in old.messages(new.topics)]
        assert sorted(converted) == sorted((one.topic, one.time_ns, one.data) for one in new.messages())
        assert [time for _, time, _ in converted] == sorted(time for _, time, _ in converted)
        first = next(old.messages(["/camera/image_raw"]))
        assert header_stamp_ns(first.data) // 10**9 == 1363639135
        assert first.time_ns // 10**9 == 1697103075
        calibration = old.decode(next(old.messages(["/camera/camera_info"])))
        assert calibration.k[0] == pytest.approx(414.536, abs=1e-3)


def test_real_messages_are_what_ros_itself_reads(shared_real):
    serialization = pytest.importorskip("rclpy.serialization", reason="needs rclpy")
    messages = pytest.importorskip("sensor_msgs.msg", reason="needs sensor_msgs")
    for bag in ("bag_svo_mono_camerainfo/tiny_svo.bag", "bag_soccer_rgb8_mislabelled"):
        with BagReader(shared_real / bag) as reader:
            for message in reader.messages(["/camera/image_raw"]):
                ours, theirs = reader.decode(message), serialization.deserialize_message(message.data, messages.Image)
                assert (ours.width, ours.height, ours.encoding) == (theirs.width, theirs.height, theirs.encoding)
                np.testing.assert_array_equal(ours.data, np.frombuffer(theirs.data, np.uint8))
