from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from recordings import HEIGHT, PERIOD_NS, START_NS, TYPES, WIDTH, camera_info, camera_messages, image, write_bag
from rosbags.highlevel import AnyReader

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.depth.colour import colourise
from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.camera_info import camera_from_message
from clip_depth_ros.replay.cloud import cloud_arrays
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.result_bag import ResultBag

RANGE = (0.5, 8.0)
FRAMES = 4
CAMERA = camera_from_message(camera_info(0))  # fx = fy = 30, the centre at (16, 12)
ROS_CLASSES = {
    "sensor_msgs/msg/Image": ("sensor_msgs.msg", "Image"),
    "sensor_msgs/msg/CameraInfo": ("sensor_msgs.msg", "CameraInfo"),
    "sensor_msgs/msg/PointCloud2": ("sensor_msgs.msg", "PointCloud2"),
}


def depth_of(index: int) -> np.ndarray:
    """Depth that differs in every pixel and picture, some pixels without reading."""
    depth = np.linspace(1.0, 6.0, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH) + np.float32(index)
    depth[index, :7] = np.nan
    return depth


def transforms(time_ns: int, parent: str, child: str):
    time = TYPES.types["builtin_interfaces/msg/Time"](*divmod(time_ns, 10**9))
    vector, turn = TYPES.types["geometry_msgs/msg/Vector3"], TYPES.types["geometry_msgs/msg/Quaternion"]
    transform = TYPES.types["geometry_msgs/msg/Transform"](vector(1.0, 2.0, 3.0), turn(0.0, 0.0, 0.0, 1.0))
    header = TYPES.types["std_msgs/msg/Header"](time, parent)
    one = TYPES.types["geometry_msgs/msg/TransformStamped"](header, child, transform)
    return TYPES.types["tf2_msgs/msg/TFMessage"]([one])


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """Four pictures (received 7 ns after their stamps), calibrations, and transforms between them."""
    messages = [("/tf_static", START_NS - 5, transforms(START_NS, "base", "camera_optical_frame"))]
    for topic, time, message in camera_messages(FRAMES):
        messages.append((topic, time + 7, message))
    messages += [("/tf", START_NS + k * PERIOD_NS // 2, transforms(START_NS + k, "map", "base")) for k in range(6)]
    messages.sort(key=lambda one: one[1])
    return write_bag(tmp_path_factory.mktemp("bags") / "input", messages)


@pytest.fixture(scope="module")
def result(recording, tmp_path_factory) -> Path:
    return write_result(recording, tmp_path_factory.mktemp("results") / "result")


def write_result(recording: Path, target: Path, heads=("space_clip",), camera: CameraModel | None = CAMERA, **options):
    rng = np.random.default_rng(0)
    with BagReader(recording) as reader, ResultBag(target, dict.fromkeys(heads, RANGE), **options) as bag:
        bag.copy_from(reader, "/camera/camera_info")
        for index, message in enumerate(reader.messages(["/camera/image"])):
            picture = reader.decode(message)
            rgb = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            depths = {head: depth_of(index) + number for number, head in enumerate(heads)}
            bag.write(message, picture.header, rgb, depths, camera)
    return target


def read(path: Path) -> dict[str, list]:
    """By topic: receive time and decoded message, by a reader that is not ours."""
    found: dict[str, list] = {}
    with AnyReader([path]) as reader:
        for connection, time, raw in reader.messages():
            found.setdefault(connection.topic, []).append((time, reader.deserialize(raw, connection.msgtype)))
    return found


def stamp(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def test_every_result_has_the_stamp_frame_and_receive_time_of_its_picture(result):
    found = read(result)
    names = {f"/camera/depth/{name}" for name in ("image", "camera_info", "points", "image_color")}
    assert set(found) == names | {"/camera/image", "/camera/camera_info", "/tf", "/tf_static"}
    for name in (*names, "/camera/image"):
        assert [time for time, _ in found[name]] == [START_NS + k * PERIOD_NS + 8 for k in range(FRAMES)]
        assert [stamp(one) for _, one in found[name]] == [START_NS + k * PERIOD_NS for k in range(FRAMES)]
        assert {one.header.frame_id for _, one in found[name]} == {"camera_optical_frame"}


def test_images_hold_the_depth_and_its_colours(result):
    found = read(result)
    for index in range(FRAMES):
        depth, colour = found["/camera/depth/image"][index][1], found["/camera/depth/image_color"][index][1]
        assert (depth.encoding, depth.width, depth.height, depth.step) == ("32FC1", WIDTH, HEIGHT, 4 * WIDTH)
        assert (colour.encoding, colour.step, len(colour.data)) == ("rgb8", 3 * WIDTH, 3 * WIDTH * HEIGHT)
        assert depth.is_bigendian == colour.is_bigendian == 0
        np.testing.assert_array_equal(depth.data.view("<f4").reshape(HEIGHT, WIDTH), depth_of(index))
        np.testing.assert_array_equal(colour.data.reshape(HEIGHT, WIDTH, 3), colourise(depth_of(index), *RANGE))
    info = found["/camera/depth/camera_info"][0][1]
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(info.k, [30, 0, 16, 0, 30, 12, 0, 0, 1])
    np.testing.assert_array_equal(info.p, [30, 0, 16, 0, 0, 30, 12, 0, 0, 0, 1, 0])


def test_points_are_laid_out_as_the_node_s_and_lie_on_their_rays(result):
    found = read(result)
    rng = np.random.default_rng(0)
    for index in range(FRAMES):
        rgb = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        cloud = found["/camera/depth/points"][index][1]
        assert [(one.name, one.offset, one.datatype, one.count) for one in cloud.fields] == [
            ("x", 0, 7, 1),
            ("y", 4, 7, 1),
            ("z", 8, 7, 1),
            ("rgb", 12, 7, 1),
        ]
        assert (cloud.width, cloud.height, cloud.point_step, cloud.row_step) == (WIDTH, HEIGHT, 16, 16 * WIDTH)
        assert not cloud.is_dense
        assert not cloud.is_bigendian
        points, colours = cloud_arrays(cloud)
        depth = depth_of(index)
        row, column = np.nonzero(np.isfinite(depth))
        z = depth[row, column]
        expected = np.stack([(column - 16) / 30 * z, (row - 12) / 30 * z, z], axis=1)
        np.testing.assert_allclose(points, expected, atol=1e-5)
        np.testing.assert_array_equal(colours, rgb[row, column])


def test_it_is_the_node_s_own_cloud_byte_for_byte(recording, tmp_path):
    point_cloud = pytest.importorskip("clip_depth_ros.ros.point_cloud", reason="needs sensor_msgs")
    serialization = pytest.importorskip("rclpy.serialization", reason="needs rclpy")
    header_class = pytest.importorskip("std_msgs.msg").Header
    cloud_class = pytest.importorskip("sensor_msgs.msg").PointCloud2
    path = write_result(recording, tmp_path / "result", edge_threshold=0.05, points_stride=2)
    with BagReader(path) as reader:
        written = next(reader.messages(["/camera/depth/points"]))
    ours = serialization.deserialize_message(written.data, cloud_class)
    rgb = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    header = header_class(stamp=ours.header.stamp, frame_id="camera_optical_frame")
    theirs = point_cloud.CloudBuilder(CAMERA, 2, edge_threshold=0.05).build(header, depth_of(0), rgb)
    assert ours == theirs


def test_ros_itself_reads_every_message(result):
    serialization = pytest.importorskip("rclpy.serialization", reason="needs rclpy")
    seen = 0
    with BagReader(result) as reader:
        for message in reader.messages():
            if message.type in ROS_CLASSES:
                module, name = ROS_CLASSES[message.type]
                kind = getattr(pytest.importorskip(module), name)
                decoded = serialization.deserialize_message(message.data, kind)
                # Padding bytes are anything, so that what went through ROS is compared decoded.
                again = TYPES.deserialize_cdr(serialization.serialize_message(decoded), message.type)
                first = TYPES.deserialize_cdr(message.data, message.type)
                for name in vars(first):
                    np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
                seen += 1
    assert seen == FRAMES * 6


def test_input_and_transforms_are_copied_byte_for_byte(recording, result):
    topics = ("/camera/image", "/camera/camera_info", "/tf", "/tf_static")
    with BagReader(recording) as source, BagReader(result) as copy:
        assert list(copy.messages(topics)) == list(source.messages(topics))
        assert [copy.topics[name].count for name in topics] == [FRAMES, FRAMES, 6, 1]


def test_static_transforms_are_offered_to_late_listeners(result):
    information = yaml.safe_load((result / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    offered = {
        topic["topic_metadata"]["name"]: yaml.safe_load(topic["topic_metadata"]["offered_qos_profiles"])
        for topic in information["topics_with_message_count"]
    }
    (static,) = offered["/tf_static"]
    assert (static["durability"], static["reliability"]) == (1, 1)  # transient local, reliable
    assert not offered["/tf"]
    assert not offered["/camera/depth/image"]


def test_points_can_be_thinned_or_left_out(recording, tmp_path):
    thinned = read(write_result(recording, tmp_path / "thinned", points_every=3, points_stride=4))
    assert [stamp(one) for _, one in thinned["/camera/depth/points"]] == [START_NS, START_NS + 3 * PERIOD_NS]
    cloud = thinned["/camera/depth/points"][0][1]
    assert (cloud.width, cloud.height, cloud.row_step) == (WIDTH // 4, HEIGHT // 4, WIDTH // 4 * 16)
    points, _ = cloud_arrays(cloud)
    assert points[-1] == pytest.approx(
        [(28 - 16) / 30 * depth_of(0)[20, 28], (20 - 12) / 30 * depth_of(0)[20, 28], depth_of(0)[20, 28]], abs=1e-5
    )
    without = read(write_result(recording, tmp_path / "without", points_every=0, with_input=False))
    assert "/camera/depth/points" not in without
    assert "/camera/image" not in without
    assert len(without["/camera/depth/image"]) == FRAMES


def test_a_bag_gone_on_with_is_the_bag_written_at_once(recording, tmp_path):
    def write_part(target: Path, before: Path | None, numbers: range) -> Path:
        with (
            BagReader(recording) as reader,
            ResultBag(target, {"space_clip": RANGE}, overwrite=True, points_every=2) as bag,
        ):
            if before is None:
                bag.copy_from(reader, "/camera/camera_info")
            else:
                with BagReader(before) as earlier:
                    for message in earlier.messages():
                        bag.copy(message)
            for index, message in enumerate(reader.messages(["/camera/image"])):
                if index in numbers:
                    picture = reader.decode(message)
                    rgb = picture.data.reshape(HEIGHT, WIDTH, 3)
                    bag.write(message, picture.header, rgb, {"space_clip": depth_of(index)}, CAMERA)
        return target

    whole = write_part(tmp_path / "whole", None, range(FRAMES))
    part = write_part(tmp_path / "part", None, range(3))
    resumed = write_part(tmp_path / "part", part, range(3, FRAMES))
    with BagReader(whole) as one, BagReader(resumed) as other:
        assert one.topics == other.topics
        assert one.topics["/camera/depth/points"].count == 2
        for topic in one.topics:
            assert list(one.messages([topic])) == list(other.messages([topic]))


def test_other_heads_have_folders_of_their_own(recording, tmp_path):
    found = read(write_result(recording, tmp_path / "result", ("space_clip", "depth_clip"), points_every=0))
    second = found["/camera/depth_clip/depth/image"][2][1]
    np.testing.assert_array_equal(second.data.view("<f4").reshape(HEIGHT, WIDTH), depth_of(2) + 1)
    assert "/camera/space_clip/depth/image" not in found


@pytest.mark.parametrize("camera", [None, CameraModel(WIDTH, HEIGHT, np.zeros((3, 3)))])
def test_without_calibration_there_are_no_points(recording, tmp_path, camera):
    found = read(write_result(recording, tmp_path / "result", camera=camera))
    assert {name for name in found if "/depth/" in name} == {"/camera/depth/image", "/camera/depth/image_color"}


def test_a_compressed_picture_stays_compressed(tmp_path):
    kind = TYPES.types["sensor_msgs/msg/CompressedImage"]
    header = image(START_NS, np.zeros((2, 2), np.uint8), "mono8").header
    source = write_bag(
        tmp_path / "in", [("/cam/rgb/compressed", START_NS, kind(header, "png", np.arange(5, dtype="u1")))]
    )
    with BagReader(source) as reader, ResultBag(tmp_path / "out", {"head": RANGE}) as bag:
        (message,) = reader.messages()
        rgb = np.zeros((2, 2, 3), np.uint8)
        bag.write(message, reader.decode(message).header, rgb, {"head": np.ones((2, 2), np.float32)}, None)
    (time, copy), *_ = read(tmp_path / "out")["/camera/image/compressed"]
    assert (time, copy.format, copy.data.tolist()) == (START_NS, "png", [0, 1, 2, 3, 4])


def test_bad_input_and_interruptions_leave_nothing(recording, tmp_path):
    with pytest.raises(BadInput, match="needs a depth head"):
        ResultBag(tmp_path / "bag", {})
    with pytest.raises(BadInput, match="number from 0"):
        ResultBag(tmp_path / "bag", {"head": RANGE}, points_every=-1)
    with pytest.raises(BadInput, match="point stride is 0"):
        write_result(recording, tmp_path / "bag", points_stride=0)
    with pytest.raises(BadInput, match="needs depth of 64x24 but got 32x24"):
        write_result(recording, tmp_path / "bag", camera=CameraModel.pinhole(64, 24, 30, 30, 16, 12))
    with pytest.raises(KeyboardInterrupt), ResultBag(tmp_path / "bag", {"head": RANGE}):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    write_result(recording, tmp_path / "bag")
    with pytest.raises(BadInput, match="exists already"):
        write_result(recording, tmp_path / "bag")
    write_result(recording, tmp_path / "bag", overwrite=True)
