from __future__ import annotations

import numpy as np
import pytest
from recordings import START_NS, TYPES, camera_info, camera_messages, image, stamped_header, write_bag

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.reader import BagReader

GREY16 = np.full((24, 32), 900, np.uint16)


def test_each_kind_is_found_by_type_and_encoding(camera_bag):
    with BagReader(camera_bag) as reader:
        assert reader.require_topic("image").name == "/camera/image"
        assert reader.require_topic("depth").name == "/camera/depth/image"
        assert reader.require_topic("camera_info").name == "/camera/camera_info"


def test_a_bag_without_images_says_what_it_has(tmp_path):
    only_calibration = [("/camera/camera_info", START_NS, camera_info(START_NS))]
    with (
        BagReader(write_bag(tmp_path / "bag", only_calibration)) as reader,
        pytest.raises(BadInput, match=r"no image topic: its topics are /camera/camera_info \(.*CameraInfo, 1\)"),
    ):
        reader.require_topic("image")


def test_several_topics_are_listed_and_one_can_be_named(tmp_path):
    rgb = np.zeros((4, 4, 3), np.uint8)
    messages = [(topic, START_NS, image(START_NS, rgb, "rgb8")) for topic in ("/left/image", "/right/image")]
    with BagReader(write_bag(tmp_path / "bag", messages)) as reader:
        with pytest.raises(BadInput, match=r"2 image topics.*/left/image .*/right/image"):
            reader.require_topic("image")
        assert reader.require_topic("image", "/right/image").name == "/right/image"
        with pytest.raises(BadInput, match="no topic /front/image"):
            reader.require_topic("image", "/front/image")


def test_of_several_calibrations_the_image_s_own_is_taken(tmp_path):
    messages = [
        ("/camera/depth/camera_info", START_NS, camera_info(START_NS)),
        *camera_messages(1),
        ("/other/camera_info", START_NS, camera_info(START_NS)),
    ]
    with BagReader(write_bag(tmp_path / "bag", messages)) as reader:
        assert reader.require_topic("camera_info", near="/camera/image").name == "/camera/camera_info"
        with pytest.raises(BadInput, match="3 camera_info topics"):
            reader.require_topic("camera_info")


def test_a_topic_of_another_type_is_refused(camera_bag):
    with (
        BagReader(camera_bag) as reader,
        pytest.raises(BadInput, match=r"/camera/camera_info is a sensor_msgs/msg/CameraInfo, but image is expected"),
    ):
        reader.require_topic("image", "/camera/camera_info")


def test_mono16_is_depth_where_the_name_says_so_and_an_image_elsewhere(tmp_path):
    messages = [
        ("/infrared/image", START_NS, image(START_NS, GREY16, "mono16")),
        ("/camera/depth/image_raw", START_NS, image(START_NS, GREY16, "mono16")),
    ]
    with BagReader(write_bag(tmp_path / "bag", messages)) as reader:
        assert reader.require_topic("image").name == "/infrared/image"
        assert reader.require_topic("depth").name == "/camera/depth/image_raw"


def test_compressed_images_are_images_and_compressed_depth_is_not(tmp_path):
    kind = TYPES.types["sensor_msgs/msg/CompressedImage"]
    data = np.zeros(10, np.uint8)
    messages = [
        ("/camera/image/compressed", START_NS, kind(stamped_header(START_NS), "jpeg", data)),
        ("/depth/compressedDepth", START_NS, kind(stamped_header(START_NS), "16UC1; compressedDepth", data)),
    ]
    with BagReader(write_bag(tmp_path / "bag", messages)) as reader:
        assert reader.require_topic("image").name == "/camera/image/compressed"
