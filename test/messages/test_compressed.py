"""Size and completeness of JPEG and PNG files, read without decoding."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.compressed import picture_size


def _picture() -> np.ndarray:
    coarse = np.random.default_rng(7).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)


def _encoded(extension: str, *parameters: int) -> bytes:
    return cv2.imencode(extension, _picture(), list(parameters))[1].tobytes()


KINDS = {
    "jpeg": _encoded(".jpg"),
    "jpeg progressive": _encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "jpeg with restart marks": _encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "png": _encoded(".png"),
}


def with_segment(jpeg: bytes, content: bytes) -> bytes:
    """Returns ``jpeg`` with an APP1 segment after its start."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


@pytest.mark.parametrize("kind", KINDS)
def test_size_is_the_picture_s(kind):
    assert picture_size(memoryview(KINDS[kind])) == (160, 120)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_after_the_end_are_let_pass(kind):
    assert picture_size(memoryview(KINDS[kind] + bytes(64))) == (160, 120)


@pytest.mark.parametrize("kind", KINDS)
def test_every_cut_is_seen(kind):
    data = KINDS[kind]
    for length in [*range(8, len(data), 97), len(data) - 5, len(data) - 1]:
        with pytest.raises(BadInput, match=f"truncated: its {length} bytes"):
            picture_size(memoryview(data[:length]))


def test_the_end_of_an_embedded_thumbnail_is_not_the_end_of_the_picture():
    thumbnail = cv2.imencode(".jpg", _picture()[::8, ::8])[1].tobytes()
    data = with_segment(KINDS["jpeg"], b"thumbnail" + thumbnail)
    assert picture_size(memoryview(data)) == (160, 120)
    with pytest.raises(BadInput, match="truncated"):
        picture_size(memoryview(data[:-2]))


def test_empty_data():
    with pytest.raises(BadInput, match="empty"):
        picture_size(memoryview(b""))


@pytest.mark.parametrize("data", [b"\xff", b"GIF89a" + bytes(50), bytes(12) + KINDS["png"], b"\x00" * 100])
def test_other_data_are_named_by_how_they_start(data):
    with pytest.raises(BadInput, match="neither JPEG nor PNG") as refusal:
        picture_size(memoryview(data))
    assert f"{len(data)} bytes" in str(refusal.value)
    assert data[:8].hex(" ") in str(refusal.value)


def test_a_png_s_claimed_size_is_read_from_its_header():
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 50000, 8, 2, 0, 0, 0))
    data = KINDS["png"][:8] + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    assert picture_size(memoryview(data)) == (60000, 50000)
