"""Clouds as a consumer reads them: through their fields."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: pip install 'clip_depth_ros[ros]', or source ROS 2")

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import PointCloud2, PointField
from sensor_msgs.msg import _point_cloud2 as generated
from std_msgs.msg import Header

from clip_depth_ros.depth.geometry import CameraModel, depth_edges, points_from_depth
from clip_depth_ros.errors import BadInput
from clip_depth_ros.ros.point_cloud import CloudBuilder, cloud_message

WIDTH, HEIGHT = 64, 48
HEADER = Header(stamp=Time(sec=1363639135, nanosec=456904576), frame_id="camera_optical")
CAMERA = CameraModel.pinhole(WIDTH, HEIGHT, 50.0, 52.0, 31.0, 25.0)


@pytest.fixture(autouse=True, params=["1", "0"], ids=["checked", "unchecked"])
def field_checks(request, monkeypatch):
    """Messages with the checks of ROS_PYTHON_CHECK_FIELDS on, and with them off."""
    monkeypatch.setattr(generated, "ros_python_check_fields", request.param)


@pytest.fixture
def frame():
    """Depth with holes, and an image whose colours are all different."""
    generator = np.random.default_rng(0)
    depth = generator.uniform(0.5, 8.0, (HEIGHT, WIDTH)).astype(np.float32)
    depth[generator.random(depth.shape) < 0.1] = np.nan
    return depth, generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def parse(message):
    """What a subscriber makes of a cloud after the wire: points (H, W, 3) and colours (H, W, 3)."""
    message = deserialize_message(serialize_message(message), PointCloud2)
    assert {field.datatype for field in message.fields} == {PointField.FLOAT32}
    assert {field.count for field in message.fields} == {1}
    layout = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [">f4" if message.is_bigendian else "<f4"] * len(message.fields),
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    assert message.row_step == message.point_step * message.width
    assert len(message.data) == message.row_step * message.height
    records = np.frombuffer(message.data, layout).reshape(message.height, message.width)
    points = np.stack([records[axis] for axis in "xyz"], axis=-1)
    words = np.ascontiguousarray(records["rgb"]).view(np.uint32)
    colours = np.stack([(words >> shift) & 255 for shift in (16, 8, 0)], axis=-1)
    assert not (words >> 24).any()
    return points, colours.astype(np.uint8)


def test_the_layout_is_the_promised_one(frame):
    message = CloudBuilder(CAMERA).build(HEADER, *frame)
    assert message.header == HEADER
    assert [(field.name, field.offset) for field in message.fields] == [("x", 0), ("y", 4), ("z", 8), ("rgb", 12)]
    assert (message.point_step, message.is_dense, message.is_bigendian) == (16, False, False)
    assert (message.height, message.width) == (HEIGHT, WIDTH)


def test_an_organised_cloud_has_the_point_and_colour_of_every_pixel(frame):
    depth, rgb = frame
    points, colours = parse(CloudBuilder(CAMERA).build(HEADER, depth, rgb))
    np.testing.assert_array_equal(points, points_from_depth(depth, CAMERA.rays()))
    assert np.isnan(points[np.isnan(depth)]).all()
    np.testing.assert_array_equal(colours, rgb)


def test_an_unorganised_cloud_has_the_same_points_without_the_missing_ones(frame):
    depth, rgb = frame
    message = CloudBuilder(CAMERA, organised=False).build(HEADER, depth, rgb)
    points, colours = parse(message)
    seen = np.isfinite(depth)
    assert (message.height, message.width, message.is_dense) == (1, int(seen.sum()), False)
    np.testing.assert_array_equal(points[0], points_from_depth(depth, CAMERA.rays())[seen])
    np.testing.assert_array_equal(colours[0], rgb[seen])


@pytest.mark.parametrize("stride", [2, 3, 7, 100])
def test_a_stride_takes_every_nth_row_and_column(frame, stride):
    depth, rgb = frame
    points, colours = parse(CloudBuilder(CAMERA, stride=stride).build(HEADER, depth, rgb))
    np.testing.assert_array_equal(points, points_from_depth(depth, CAMERA.rays())[::stride, ::stride])
    np.testing.assert_array_equal(colours, rgb[::stride, ::stride])


def test_the_range_is_along_z_and_never_clips(frame):
    depth, rgb = frame
    points, _ = parse(CloudBuilder(CAMERA, minimum=1.0, maximum=4.0).build(HEADER, depth, rgb))
    kept = np.isfinite(points[..., 2])
    np.testing.assert_array_equal(kept, (depth >= 1.0) & (depth <= 4.0))
    np.testing.assert_array_equal(points[kept][:, 2], depth[kept])


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf])
def test_what_is_no_depth_is_no_point(frame, value):
    depth, rgb = frame
    depth[10, 20] = value
    points, _ = parse(CloudBuilder(CAMERA).build(HEADER, depth, rgb))
    assert np.isnan(points[10, 20]).all()


@pytest.mark.parametrize("stride", [1, 4])
def test_flying_points_are_dropped_before_the_stride(stride):
    depth = np.full((HEIGHT, WIDTH), 1.5, np.float32)
    depth[:, 30:36] = np.linspace(1.5, 3.0, 8)[1:-1]
    depth[:, 36:] = 3.0
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    builder = CloudBuilder(CAMERA, stride=stride, edge_threshold=0.05)
    points, _ = parse(builder.build(HEADER, depth, rgb))
    edges = depth_edges(depth, 0.05)[::stride, ::stride]
    assert edges.any()
    np.testing.assert_array_equal(np.isnan(points[..., 2]), edges)
    left = points[..., 2][~edges]
    assert set(np.unique(left).tolist()) == {1.5, 3.0}
    everything, _ = parse(CloudBuilder(CAMERA, stride=stride).build(HEADER, depth, rgb))
    assert np.isfinite(everything).all()


def test_pixels_without_a_ray_are_no_points(frame):
    _, rgb = frame
    wide = CameraModel(
        WIDTH, HEIGHT, np.array([[18.0, 0, 31.5], [0, 18.0, 23.5], [0, 0, 1]]), "equidistant", np.zeros(4)
    )
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    points, _ = parse(CloudBuilder(wide).build(HEADER, depth, rgb))
    blind = np.isnan(wide.rays()[..., 0])
    assert blind.any()
    assert np.isnan(points[blind]).all()
    assert (points[~blind][:, 2] == 2.0).all()
    unorganised = CloudBuilder(wide, organised=False).build(HEADER, depth, rgb)
    assert unorganised.width == (~blind).sum()


def test_a_builders_messages_do_not_share_memory(frame):
    depth, rgb = frame
    builder = CloudBuilder(CAMERA)
    first = builder.build(HEADER, depth, rgb)
    before = bytes(first.data)
    builder.build(HEADER, depth + 1.0, rgb[::-1])
    assert bytes(first.data) == before


def test_a_cloud_without_any_point_is_a_valid_message(frame):
    _, rgb = frame
    nothing = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    points, _ = parse(CloudBuilder(CAMERA).build(HEADER, nothing, rgb))
    assert np.isnan(points).all()
    empty = CloudBuilder(CAMERA, organised=False).build(HEADER, nothing, rgb)
    assert parse(empty)[0].shape == (1, 0, 3)


def test_images_that_are_views_of_message_bytes_are_read(frame):
    depth, rgb = frame
    frozen = np.frombuffer(rgb.tobytes(), np.uint8).reshape(rgb.shape)
    _, colours = parse(CloudBuilder(CAMERA).build(HEADER, depth, frozen))
    np.testing.assert_array_equal(colours, rgb)


@pytest.mark.parametrize("organised", [True, False])
def test_cloud_message_agrees_with_the_builder(frame, organised):
    depth, rgb = frame
    points = points_from_depth(depth, CAMERA.rays())
    built = CloudBuilder(CAMERA, organised=organised).build(HEADER, depth, rgb)
    made = cloud_message(HEADER, points, rgb, organised)
    np.testing.assert_array_equal(parse(made)[0], parse(built)[0])
    np.testing.assert_array_equal(parse(made)[1], parse(built)[1])
    assert (made.height, made.width, made.header) == (built.height, built.width, HEADER)


def test_sizes_that_differ_are_refused_with_both(frame):
    depth, rgb = frame
    builder = CloudBuilder(CAMERA)
    with pytest.raises(BadInput, match="depth of 64x48 but got 32x48"):
        builder.build(HEADER, depth[:, :32], rgb)
    with pytest.raises(BadInput, match="image of 64x48 but got 64x24"):
        builder.build(HEADER, depth, rgb[:24])
    with pytest.raises(BadInput, match="colours of 64x48 but got 64x24"):
        cloud_message(HEADER, points_from_depth(depth, CAMERA.rays()), rgb[:24])


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"stride": 0}, "stride is 0"),
        ({"minimum": 3.0, "maximum": 2.0}, "3.0 to 2.0 m"),
        ({"minimum": -1.0}, "-1.0 to inf m"),
        ({"maximum": float("nan")}, "0.0 to nan m"),
        ({"edge_threshold": -0.1}, "edge threshold is -0.1"),
        ({"edge_threshold": float("nan")}, "edge threshold is nan"),
    ],
)
def test_numbers_out_of_their_range_are_refused(choices, reason):
    with pytest.raises(BadInput, match=reason):
        CloudBuilder(CAMERA, **choices)


def test_an_uncalibrated_camera_has_no_cloud():
    with pytest.raises(BadInput, match=r"K\[0\] is 0"):
        CloudBuilder(CameraModel(WIDTH, HEIGHT, np.zeros((3, 3))))
