"""Compressed image messages: JPEG and PNG as drivers and image transport send them, and damaged ones."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: pip install 'clip_depth_ros[ros]', or source ROS 2")

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage

from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.encodings import FORMATS, convert
from clip_depth_ros.ros.images import decode_compressed

HEIGHT, WIDTH = 120, 160


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    coarse = np.random.default_rng(7).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def encode(extension: str, pixels: np.ndarray) -> bytes:
    """Returns ``pixels`` (grey, RGB or RGBA) as a file."""
    stored = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]
    return cv2.imencode(extension, np.ascontiguousarray(stored), [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()


def message_of(data: bytes, form: str = "jpeg") -> CompressedImage:
    message = CompressedImage(format=form)
    message.data.frombytes(data)
    return message


@pytest.mark.parametrize("form", ["jpeg", "jpg", "", "bgr8; jpeg compressed bgr8", "rgb8; jpeg compressed bgr8"])
def test_jpeg_in_colour(rgb, form):
    decoded = decode_compressed(message_of(encode(".jpg", rgb), form))
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert decoded.shape == rgb.shape
    difference = np.abs(decoded.astype(int) - rgb).mean(axis=(0, 1))
    assert (difference < 4).all()
    assert np.abs(decoded[..., ::-1].astype(int) - rgb).mean() > 20  # so the order of the channels is seen


@pytest.mark.parametrize("form", ["png", "bgr8; png compressed bgr8", "rgb8; png compressed bgr8"])
def test_png_in_colour_is_exact(rgb, form):
    np.testing.assert_array_equal(decode_compressed(message_of(encode(".png", rgb), form)), rgb)


@pytest.mark.parametrize(
    ("extension", "form"), [(".png", "mono8; png compressed "), (".jpg", "mono8; jpeg compressed ")]
)
def test_grey(rgb, extension, form):
    decoded = decode_compressed(message_of(encode(extension, rgb[..., 1]), form))
    assert decoded.shape == rgb.shape
    assert (decoded == decoded[..., :1]).all()
    assert np.abs(decoded[..., 0].astype(int) - rgb[..., 1]).max() <= (0 if extension == ".png" else 12)


@pytest.mark.parametrize("form", ["mono16; png compressed ", "png"])
def test_sixteen_bit_grey_is_read_like_a_raw_mono16(form):
    grey = np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16)
    decoded = decode_compressed(message_of(encode(".png", grey), form))
    np.testing.assert_array_equal(decoded, convert(grey, FORMATS["mono16"]))


@pytest.mark.parametrize("encoding", ["rgb16", "rgba16", "rgba8"])
def test_png_with_sixteen_bits_or_alpha(encoding):
    pixel = FORMATS[encoding]
    shape = (HEIGHT, WIDTH, pixel.channels)
    pixels = np.random.default_rng(2).integers(0, np.iinfo(pixel.dtype).max + 1, shape).astype(pixel.dtype)
    decoded = decode_compressed(message_of(encode(".png", pixels), f"{encoding}; png compressed bgr8"))
    np.testing.assert_array_equal(decoded, convert(pixels, pixel))


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "bayer_grbg8", "bayer_bggr16"])
def test_a_mosaic_sent_as_a_grey_picture_is_turned_into_colours(encoding):
    pixel = FORMATS[encoding]
    mosaic = np.random.default_rng(4).integers(0, np.iinfo(pixel.dtype).max + 1, (HEIGHT, WIDTH)).astype(pixel.dtype)
    decoded = decode_compressed(message_of(encode(".png", mosaic), f"{encoding}; png compressed "))
    np.testing.assert_array_equal(decoded, convert(mosaic, pixel))


def test_the_camera_s_pixels_stay_where_they_are_whatever_exif_says(rgb):
    tag = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)  # orientation 6: show it turned by 90 degrees
    exif = b"Exif\x00\x00MM\x00\x2a" + struct.pack(">IH", 8, 1) + tag + struct.pack(">I", 0)
    plain = encode(".jpg", rgb)
    turned = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (WIDTH, HEIGHT, 3)
    np.testing.assert_array_equal(decode_compressed(message_of(turned)), decode_compressed(message_of(plain)))


def test_a_message_from_the_wire_decodes(rgb):
    received = deserialize_message(serialize_message(message_of(encode(".png", rgb), "png")), CompressedImage)
    np.testing.assert_array_equal(decode_compressed(received), rgb)


def test_pictures_of_real_cameras(shared_real: Path):
    files = sorted((shared_real / "cam_surround_fisheye_yaml").glob("*.jpg"))
    files += sorted((shared_real / "rgbd_tum_fr2_desk_slambook" / "rgb").glob("*.png"))
    assert len(files) == 6
    for file in files:
        decoded = decode_compressed(message_of(file.read_bytes(), file.suffix[1:]))
        expected = cv2.imread(str(file), cv2.IMREAD_COLOR)[..., ::-1]
        np.testing.assert_array_equal(decoded, expected)
        with pytest.raises(BadInput, match="truncated"):
            decode_compressed(message_of(file.read_bytes()[:-100]))


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.999])
def test_truncated(rgb, extension, kept):
    data = encode(extension, rgb)
    data = data[: int(len(data) * kept)]
    with pytest.raises(BadInput, match=f"truncated: its {len(data)} bytes"):
        decode_compressed(message_of(data))


def test_jpeg_without_its_end_marker_alone(rgb):
    data = encode(".jpg", rgb)
    assert data.endswith(b"\xff\xd9")
    with pytest.raises(BadInput, match="truncated"):
        decode_compressed(message_of(data[:-2]))


def test_damaged_png(rgb):
    data = bytearray(encode(".png", rgb))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(BadInput, match=f"{WIDTH}x{HEIGHT} pixels in {len(data)} bytes is damaged"):
        decode_compressed(message_of(bytes(data)))


def test_jpeg_that_is_complete_and_holds_nothing():
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 8, 8, HEIGHT, WIDTH, 0)
    with pytest.raises(BadInput, match="damaged"):
        decode_compressed(message_of(b"\xff\xd8" + frame + b"\xff\xd9"))


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"no picture at all", "neither JPEG nor PNG")])
def test_no_picture(data, reason):
    with pytest.raises(BadInput, match=reason):
        decode_compressed(message_of(data))


def test_compressed_depth_is_no_picture():
    depth = np.full((HEIGHT, WIDTH), 1500, np.uint16)
    with pytest.raises(BadInput, match="16UC1"):
        decode_compressed(message_of(encode(".png", depth), "16UC1; png compressed "))
    with pytest.raises(BadInput, match="neither JPEG nor PNG"):
        decode_compressed(message_of(bytes(12) + encode(".png", depth), "16UC1; compressedDepth png"))


def _png_that_claims(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def _jpeg_that_claims(width: int, height: int) -> bytes:
    data = encode(".jpg", np.zeros((8, 8, 3), np.uint8))
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


@pytest.mark.parametrize("claim", [_png_that_claims, _jpeg_that_claims])
def test_absurd_size_is_refused_before_it_is_allocated(claim):
    message = message_of(claim(60000, 60000))
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match="60000x60000 pixels, more than"):
            decode_compressed(message)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("claim", [_png_that_claims, _jpeg_that_claims])
def test_no_pixels(claim):
    with pytest.raises(BadInput, match="0x4 pixels"):
        decode_compressed(message_of(claim(0, 4)))
