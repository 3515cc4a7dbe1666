"""Clouds and depth images of every layout, against the numbers they were packed from."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from bag_scenes import cloud, image, make
from recordings import START_NS, stamped_header

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.ground_truth.arrays import read_depth, read_picture, read_points

POINTS = np.array([[1, 2, 3], [np.nan, 0, 1], [0, 0, 0], [-4, 5.5, 6], [0, 0, 7], [1, np.inf, 2]], np.float64)
GOOD = POINTS[[0, 3, 4]]
DEPTH = np.array([[0.5, 0.0, 2.25], [4.0, 8.125, 0.0]], np.float32)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize(("offset", "padding"), [(0, 0), (0, 4), (3, 6)])
def test_points_of_any_layout(kind, offset, padding):
    np.testing.assert_array_equal(read_points(cloud(START_NS, POINTS, kind, offset, padding)), GOOD)


def test_an_organised_cloud_with_padded_rows():
    message = cloud(START_NS, POINTS)
    rows = message.data.reshape(2, -1)
    message.height, message.width = 2, 3
    message.row_step = rows.shape[1] + 7
    message.data = np.hstack([rows, np.zeros((2, 7), np.uint8)]).reshape(-1)
    np.testing.assert_array_equal(read_points(message), GOOD)


def test_an_empty_cloud():
    assert read_points(cloud(START_NS, np.zeros((0, 3)))).shape == (0, 3)


def test_clouds_that_cannot_be_read():
    short = cloud(START_NS, POINTS)
    short.data = short.data[:-10]
    with pytest.raises(BadInput, match="6x1 points of 21 bytes in rows of 126 has 116 bytes only, not 126"):
        read_points(short)
    flat = cloud(START_NS, POINTS)
    flat.fields = flat.fields[:2]
    with pytest.raises(BadInput, match="needs x, y and z"):
        read_points(flat)


def _compressed(form: str, data: bytes):
    return make(
        "sensor_msgs/msg/CompressedImage",
        header=stamped_header(START_NS),
        format=form,
        data=np.frombuffer(data, np.uint8),
    )


def _png(values: np.ndarray) -> bytes:
    return cv2.imencode(".png", values)[1].tobytes()


def test_raw_depth_in_metres_and_millimetres():
    floats = np.where(DEPTH > 0, DEPTH, np.nan).astype(np.float32)
    np.testing.assert_array_equal(read_depth(image(START_NS, floats, "32FC1")), DEPTH)
    millimetres = (DEPTH * 1000).astype(np.uint16)
    np.testing.assert_array_equal(read_depth(image(START_NS, millimetres, "16UC1")), DEPTH)


@pytest.mark.parametrize("form", ["16UC1; compressedDepth png", "16UC1; compressedDepth"])
def test_compressed_depth_in_millimetres(form):
    header = struct.pack("<iff", 0, 0, 0)
    data = header + _png((DEPTH * 1000).astype(np.uint16))
    np.testing.assert_array_equal(read_depth(_compressed(form, data)), DEPTH)


def test_compressed_depth_as_steps_of_inverse_depth():
    """Step = A / depth + B, as the transport quantises it with its defaults: 10 m at most, 100 for the precision."""
    quantum, farthest = 100.0, 10.0
    scale = quantum * (quantum + 1)
    shift = 1 - scale / farthest
    steps = np.zeros(DEPTH.shape, np.uint16)
    steps[DEPTH > 0] = np.rint(scale / DEPTH[DEPTH > 0] + shift)
    found = read_depth(_compressed("32FC1; compressedDepth png", struct.pack("<iff", 0, scale, shift) + _png(steps)))
    np.testing.assert_array_equal(found > 0, DEPTH > 0)
    np.testing.assert_allclose(found, DEPTH, atol=float(DEPTH.max()) ** 2 / scale)


@pytest.mark.parametrize(
    ("form", "data", "complaint"),
    [
        ("16UC1; compressedDepth rvl", b"\0" * 40, "holds no PNG"),
        ("16UC1; compressedDepth", b"\0" * 12 + _png(np.zeros((4, 4), np.uint8)), "not 16-bit"),
        ("16UC1; compressedDepth", b"\0" * 12 + _png(np.ones((40, 40), np.uint16))[:-20], "truncated"),
        ("32FC1; compressedDepth", _png(np.ones((4, 4), np.uint16)), "lacks the header"),
    ],
)
def test_compressed_depth_that_cannot_be_read(form, data, complaint):
    with pytest.raises(BadInput, match=complaint):
        read_depth(_compressed(form, data))


def test_pictures_raw_compressed_and_mislabelled():
    rgb = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_picture(image(START_NS, rgb, "rgb8")), rgb)
    np.testing.assert_array_equal(read_picture(image(START_NS, rgb, "rgb8"), "bgr8"), rgb[..., ::-1])
    png = _compressed("rgb8; png compressed bgr8", _png(np.ascontiguousarray(rgb[..., ::-1])))
    np.testing.assert_array_equal(read_picture(png), rgb)
