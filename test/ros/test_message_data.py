"""Messages that are written over from frame to frame: nothing of one is left in the next."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="needs ROS 2's messages: pip install 'clip_depth_ros[ros]'")

from rig import Rig, camera_info, depth_array, image, picture, stamp_of
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.ros.images import depth_message
from clip_depth_ros.ros.message_data import data_array
from clip_depth_ros.ros.point_cloud import CloudBuilder


def test_the_messages_own_array_is_written_in_place_and_brought_to_size() -> None:
    message = Image()
    own = message.data
    data_array(message, 6)[:] = range(6)
    assert message.data is own
    assert list(message.data) == [0, 1, 2, 3, 4, 5]
    assert list(data_array(message, 3)) == [0, 1, 2]
    assert list(data_array(message, 5)) == [0, 1, 2, 0, 0]
    assert message.data is own
    assert message.data == array("B", [0, 1, 2, 0, 0])


def test_whoever_still_looks_at_the_old_bytes_keeps_them() -> None:
    message = Image()
    old = data_array(message, 4)
    old[:] = 7
    new = data_array(message, 2)
    new[:] = 9
    assert list(old) == [7] * 4
    assert list(message.data) == [9, 9]


@pytest.mark.parametrize("sizes", [((6, 8), (4, 5)), ((4, 5), (6, 8))])
def test_a_depth_image_written_over_another_is_as_a_new_one(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    generator = np.random.default_rng(0)
    message = Image()
    for size, encoding in zip((*sizes, sizes[0]), ("32FC1", "16UC1", "32FC1")):
        depth = generator.uniform(0.1, 9, size).astype(np.float32)
        depth[0, 0] = np.nan
        header = Header(frame_id=f"camera{size}")
        assert depth_message(header, depth, encoding, message) is message
        fresh = depth_message(header, depth, encoding)
        assert message.data == fresh.data
        assert (message.header, message.height, message.width, message.step, message.encoding) == (
            fresh.header,
            fresh.height,
            fresh.width,
            fresh.step,
            fresh.encoding,
        )


@pytest.mark.parametrize("organised", [True, False])
def test_a_cloud_written_over_another_is_as_a_new_one(organised: bool) -> None:
    generator = np.random.default_rng(1)
    builder = CloudBuilder(CameraModel.pinhole(32, 24, 30.0, 30.0, 16.0, 12.0), organised=organised)
    message = PointCloud2()
    for share in (0.1, 0.9, 0.5):  # of pixels without a reading: an unorganised cloud shrinks and grows
        depth = generator.uniform(0.5, 5, (24, 32)).astype(np.float32)
        depth[generator.uniform(size=depth.shape) < share] = np.nan
        rgb = generator.integers(0, 256, (24, 32, 3), np.uint8)
        fresh = builder.build(Header(), depth, rgb)
        assert builder.build(Header(), depth, rgb, message) is message
        assert message.data == fresh.data
        assert (message.width, message.height, message.row_step) == (fresh.width, fresh.height, fresh.row_step)
        assert organised or message.width == np.isfinite(depth).sum()


def test_two_frames_in_a_row_arrive_unmixed(make_rig: Callable[..., Rig]) -> None:
    """Over real DDS: depth, colours and points of each frame are its own, also after the size changed."""
    rig = make_rig(points__edge_threshold=0.0)
    rig.listen(Image, "depth/image", "depth/image_color")
    rig.listen(PointCloud2, "depth/points")
    estimator = rig.pipeline.network.estimator
    stream = rig.pipeline.cameras[0].stream
    for number, (width, height) in enumerate([(64, 48), (64, 48), (40, 32), (64, 48)], start=1):
        rig.send("camera_info", camera_info(width, height))
        rig.until(
            lambda width=width: stream.calibration.current.camera and stream.calibration.current.camera.width == width
        )
        rig.send("image", image(number, width=width, height=height, seed=number))
        answers = {name: rig.answer(f"depth/{name}", number) for name in ("image", "image_color", "points")}
        assert {stamp_of(answer)[0] for answer in answers.values()} == {number}
        depth = depth_array(answers["image"])
        expected = estimator.run([picture(width, height, number)], [stream.calibration.current.camera])[0]
        np.testing.assert_allclose(depth, expected["space_clip"].depth[0].numpy(), atol=1e-5)
        points = np.frombuffer(answers["points"].data, np.float32).reshape(height, width, 4)
        np.testing.assert_array_equal(points[..., 2], depth)
        assert len(answers["image_color"].data) == height * width * 3
    # What was heard first was not changed by what came later.
    first, second = (depth_array(message) for message in rig.heard["depth/image"][:2])
    assert not np.array_equal(first, second)
