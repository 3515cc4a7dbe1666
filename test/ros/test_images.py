"""Raw image messages: decoding against the real cv_bridge and real bags, and bad input."""

from __future__ import annotations

import array
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: pip install 'clip_depth_ros[ros]', or source ROS 2")

from image_messages import make_image, some_pixels
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.encodings import FORMATS
from clip_depth_ros.ros.images import ENCODINGS, MAXIMUM_PIXELS, decode_image

SIXTEEN_BITS = [encoding for encoding in ENCODINGS if FORMATS[encoding].dtype == np.uint16]


@pytest.mark.parametrize("target", ["rgb8", "mono8"])
def test_messages_decode_as_cv_bridge_does(shared_golden: Path, target):
    with np.load(shared_golden / "cv_bridge" / "conversions.npz") as conversions:
        encodings = [encoding for encoding in ENCODINGS if f"in|{encoding}" in conversions]
        assert len(encodings) == 17
        for encoding in encodings:
            decoded = decode_image(make_image(encoding, conversions[f"in|{encoding}"]), target=target)
            # OpenCV rounds grey from an 8-bit mosaic in more than one way: see test_encodings.py.
            mosaic_to_grey = encoding.startswith("bayer_") and encoding.endswith("8") and target == "mono8"
            reference = conversions[f"out|{encoding}|{target}"]
            np.testing.assert_allclose(decoded.astype(int), reference, atol=int(mosaic_to_grey), rtol=0)


@pytest.mark.parametrize("padding", [8, 7])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_padding_is_left_out(encoding, padding):
    pixels = some_pixels(encoding)
    plain = decode_image(make_image(encoding, pixels))
    padded = decode_image(make_image(encoding, pixels, padding))
    assert plain.shape == padded.shape == (16, 24, 3)
    assert plain.dtype == padded.dtype == np.uint8
    assert padded.flags.c_contiguous
    np.testing.assert_array_equal(padded, plain)


@pytest.mark.parametrize("encoding", SIXTEEN_BITS)
@pytest.mark.parametrize("padding", [0, 5])
def test_big_endian_is_read_right(encoding, padding):
    pixels = some_pixels(encoding)
    little = make_image(encoding, pixels)
    big = make_image(encoding, pixels, padding, big_endian=True)
    assert bytes(little.data[:2]) == bytes(big.data[:2])[::-1]
    np.testing.assert_array_equal(decode_image(big), decode_image(little))


def test_byte_order_means_nothing_to_eight_bits():
    pixels = some_pixels("bgr8")
    np.testing.assert_array_equal(decode_image(make_image("bgr8", pixels, big_endian=True)), pixels[..., ::-1])


def test_rgb_without_padding_is_a_view_of_the_message():
    message = make_image("rgb8", some_pixels("rgb8"))
    rgb = decode_image(message)
    assert np.shares_memory(rgb, np.frombuffer(message.data, np.uint8))
    message.data[0] ^= 0xFF
    assert rgb[0, 0, 0] == message.data[0]


def test_grey_on_request():
    pixels = some_pixels("mono8")
    message = make_image("mono8", pixels)
    grey = decode_image(message, target="mono8")
    np.testing.assert_array_equal(grey, pixels)
    assert np.shares_memory(grey, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize("label", ["rgb8", "8UC3", "nonsense"])
def test_override_replaces_the_label(label):
    pixels = some_pixels("bgr8")
    message = make_image(label, pixels)
    np.testing.assert_array_equal(decode_image(message, "bgr8"), pixels[..., ::-1])
    assert message.encoding == label


def test_a_message_from_the_wire_decodes():
    pixels = some_pixels("bgr8")
    received = deserialize_message(serialize_message(make_image("bgr8", pixels)), Image)
    assert isinstance(received.data, array.array)
    np.testing.assert_array_equal(decode_image(received), pixels[..., ::-1])


def _bag_images(path: Path) -> Iterator[Image]:
    reader = pytest.importorskip("mcap.reader", reason="needs mcap: pip install 'clip_depth_ros[replay]'")
    zstandard = pytest.importorskip("zstandard", reason="needs zstandard: pip install 'clip_depth_ros[replay]'")
    with path.open("rb") as stream:
        for schema, _, message in reader.make_reader(stream).iter_messages():
            if schema.name not in ("sensor_msgs/Image", "sensor_msgs/msg/Image"):
                continue
            packed = message.data.startswith(b"\x28\xb5\x2f\xfd")  # zstd per message, as one of the bags has it
            data = zstandard.ZstdDecompressor().decompress(message.data) if packed else message.data
            yield deserialize_message(data, Image)


def test_real_bag_that_calls_its_bgr_bytes_rgb(shared_real: Path):
    messages = list(_bag_images(shared_real / "bag_soccer_rgb8_mislabelled" / "soccer_goal_12.mcap"))
    assert len(messages) == 2
    for message in messages:
        assert message.encoding == "rgb8"
        rgb = decode_image(message, "bgr8")
        assert rgb.shape == (480, 640, 3)
        np.testing.assert_array_equal(rgb, decode_image(message)[..., ::-1])
        red, green, blue = rgb[:90, 30:600].reshape(-1, 3).mean(axis=0)
        assert red > green > blue + 10  # the wall is beige; read as the label says, it would be blue
        red, green, blue = rgb[400:].reshape(-1, 3).mean(axis=0)
        assert green > 2 * max(red, blue) - 20  # the floor is green


def test_real_bag_with_a_grey_camera(shared_real: Path):
    folder = shared_real / "bag_svo_mono_camerainfo" / "ros2_mcap"
    messages = list(_bag_images(folder / "derived_ros2_mcap.mcap"))
    assert len(messages) == 10
    for message in messages:
        rgb = decode_image(message)
        assert rgb.shape == (480, 752, 3)
        stored = np.frombuffer(message.data, np.uint8).reshape(480, 752)
        assert stored.std() > 5
        np.testing.assert_array_equal(rgb, np.repeat(stored[..., None], 3, axis=2))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("change", [-1, 1])
def test_data_of_another_length(encoding, change):
    message = make_image(encoding, some_pixels(encoding))
    expected = len(message.data)
    data = message.data[:-1] if change < 0 else message.data + array.array("B", [0])
    message.data = data
    with pytest.raises(BadInput, match=rf"24x16 .* holds {expected + change} bytes .* = {expected}"):
        decode_image(message)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_step_shorter_than_a_row(encoding):
    message = make_image(encoding, some_pixels(encoding))
    needed = message.step
    message.step -= 1
    with pytest.raises(BadInput, match=f"step {needed - 1}, but a row of 24 pixels takes {needed} bytes"):
        decode_image(message)


@pytest.mark.parametrize("encoding", ["", "rgb", "yuv411"])
def test_unknown_encoding(encoding):
    message = make_image(encoding, some_pixels("rgb8"))
    with pytest.raises(BadInput, match="is unknown: set the parameter encoding_override"):
        decode_image(message)


@pytest.mark.parametrize(("encoding", "channels"), [("8UC1", 1), ("8UC3", 3), ("8UC4", 4)])
def test_encoding_without_colours(encoding, channels):
    message = make_image(encoding, np.zeros((4, 4, channels), np.uint8))
    with pytest.raises(BadInput, match=f"{encoding} names no colours.* encoding_override"):
        decode_image(message)


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 4), (4, 0)])
def test_no_pixels(width, height):
    message = Image(encoding="rgb8", width=width, height=height, step=3 * width)
    with pytest.raises(BadInput, match=f"{width}x{height} pixels"):
        decode_image(message)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("side", [60000, 4294967294])
def test_absurd_size_without_data_allocates_nothing(encoding, side):
    message = Image(encoding=encoding, width=side, height=side, step=min(side * 8, 4294967295))
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match=f"{side}x{side} pixels, more than the {MAXIMUM_PIXELS}"):
            decode_image(message)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_large_size_without_data_allocates_nothing():
    message = Image(encoding="mono16", width=8192, height=8192, step=16384)
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match="holds 0 bytes"):
            decode_image(message)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
@pytest.mark.parametrize(("width", "height"), [(5, 4), (4, 5), (5, 5)])
def test_semi_planar_image_of_odd_size(encoding, width, height):
    message = Image(encoding=encoding, width=width, height=height, step=width)
    message.data.frombytes(bytes(width * height * 3 // 2))
    with pytest.raises(BadInput, match=f"{encoding} image is {width}x{height} pixels: its chroma"):
        decode_image(message)


@pytest.mark.parametrize("encoding", ["yuv422", "yuv422_yuy2", "uyvy", "yuyv"])
def test_yuv422_image_of_odd_width(encoding):
    message = make_image(encoding, some_pixels(encoding, width=23))
    with pytest.raises(BadInput, match="23x16 pixels: its chroma"):
        decode_image(message)


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if FORMATS[name].chroma_columns == 1])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (3, 2), (5, 3)])
def test_smallest_images_decode(encoding, height, width):
    rgb = decode_image(make_image(encoding, some_pixels(encoding, height, width)))
    assert rgb.shape == (height, width, 3)


def test_the_next_good_image_works_after_a_bad_one():
    pixels = some_pixels("rgb8")
    bad = make_image("rgb8", pixels)
    bad.data = bad.data[:-3]
    with pytest.raises(BadInput):
        decode_image(bad)
    np.testing.assert_array_equal(decode_image(make_image("rgb8", pixels)), pixels)
