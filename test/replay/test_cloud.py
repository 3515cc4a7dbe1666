from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.cloud import cloud_arrays, cloud_points

INT8, UINT32, FLOAT32, FLOAT64 = 1, 6, 7, 8
CODES = {UINT32: "I", FLOAT32: "f", FLOAT64: "d"}
POINTS = [(1.0, 2.0, 3.0), (float("nan"),) * 3, (4.0, 5.0, 6.0), (7.0, -8.0, 0.5)]
COLOURS = [(255, 1, 2), (9, 9, 9), (3, 254, 128), (0, 0, 255)]


def field(name, offset, datatype=FLOAT32, count=1):
    return SimpleNamespace(name=name, offset=offset, datatype=datatype, count=count)


def make_cloud(
    points, colours=None, *, colour="rgb", colour_type=FLOAT32, at=12, step=16, kind=FLOAT32, rows=1, padding=0, big=0
):
    """A cloud packed by ``struct``, row by row, each row followed by ``padding`` bytes of rubbish."""
    order, size = ">" if big else "<", struct.calcsize(CODES[kind])
    width = len(points) // rows
    data = b""
    for row in range(rows):
        for index in range(row * width, (row + 1) * width):
            point = bytearray(b"\xab" * step)
            struct.pack_into(f"{order}3{CODES[kind]}", point, 0, *points[index])
            if colours is not None:
                red, green, blue = colours[index]
                struct.pack_into(f"{order}I", point, at, 0x7F << 24 | red << 16 | green << 8 | blue)
            data += bytes(point)
        data += b"\xcd" * padding
    fields = [field(name, size * index, kind) for index, name in enumerate("xyz")]
    if colours is not None:
        fields.append(field(colour, at, colour_type))
    return SimpleNamespace(
        height=rows,
        width=width,
        point_step=step,
        row_step=width * step + padding,
        is_bigendian=bool(big),
        fields=fields,
        data=np.frombuffer(data, np.uint8),
    )


@pytest.mark.parametrize("big", [0, 1])
@pytest.mark.parametrize(("rows", "padding"), [(1, 0), (2, 0), (2, 24)])
@pytest.mark.parametrize(("kind", "step", "at"), [(FLOAT32, 16, 12), (FLOAT32, 32, 16), (FLOAT64, 28, 24)])
@pytest.mark.parametrize(("colour", "colour_type"), [("rgb", FLOAT32), ("rgb", UINT32), ("rgba", UINT32)])
def test_finite_points_and_their_colours_however_they_are_laid_out(
    big, rows, padding, kind, step, at, colour, colour_type
):
    cloud = make_cloud(
        POINTS,
        COLOURS,
        colour=colour,
        colour_type=colour_type,
        at=at,
        step=step,
        kind=kind,
        rows=rows,
        padding=padding,
        big=big,
    )
    found, rgb = cloud_arrays(cloud)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([POINTS[0], *POINTS[2:]], np.float32))
    np.testing.assert_array_equal(rgb, [COLOURS[0], *COLOURS[2:]])
    np.testing.assert_array_equal(cloud_points(cloud), np.array(POINTS))


def test_a_cloud_without_colour_is_grey():
    _, rgb = cloud_arrays(make_cloud([(1, 2, 3)]))
    np.testing.assert_array_equal(rgb, [(128, 128, 128)])


def test_other_fields_may_be_of_any_type_and_count():
    cloud = make_cloud(POINTS, COLOURS, step=32)
    cloud.fields[0:0] = [field("ring", 20, INT8, 4), field("odd", 25, 77, 3), field("far", 900, FLOAT32, 0)]
    found, rgb = cloud_arrays(cloud)
    np.testing.assert_array_equal(found[0], POINTS[0])
    np.testing.assert_array_equal(rgb[0], COLOURS[0])


def test_a_row_step_of_zero_is_that_of_rows_without_padding():
    cloud = make_cloud(POINTS, COLOURS, rows=2)
    cloud.row_step = 0
    np.testing.assert_array_equal(cloud_arrays(cloud)[0][-1], POINTS[-1])


def test_a_cloud_of_no_points_is_empty():
    cloud = make_cloud([], COLOURS)
    points, rgb = cloud_arrays(cloud)
    assert (points.shape, rgb.shape) == ((0, 3), (0, 3))


def _break(cloud, how):
    fields = {one.name: one for one in cloud.fields}
    if how == "no z":
        fields["z"].name = "w"
    elif how == "z of another type":
        fields["z"].datatype = INT8
    elif how == "z of an unknown type":
        fields["z"].datatype = 200
    elif how == "three z":
        fields["z"].count = 3
    elif how == "z outside the point":
        fields["z"].offset = 14
    elif how == "no fields":
        cloud.fields = []
    elif how == "colour of another type":
        fields["rgb"].datatype = FLOAT64
    elif how == "colour outside the point":
        fields["rgb"].offset = 13
    elif how == "short":
        cloud.data = cloud.data[:-1]
    elif how == "short rows":
        cloud.row_step += 4
    elif how == "huge":
        cloud.width = cloud.height = 2**32 - 1


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("no z", r"fields x .*w \(type 7 x 1\).* needs x, y and z as float32 or float64"),
        ("z of another type", r"z \(type 1 x 1\).* needs x, y and z"),
        ("z of an unknown type", r"z \(type 200 x 1\).* needs x, y and z"),
        ("three z", r"z \(type 7 x 3\).* needs x, y and z"),
        ("z outside the point", r"points of 16 bytes .* needs x, y and z"),
        ("no fields", r"has the fields \(none\): it needs x, y and z"),
        ("colour of another type", r"its colour rgb must be one uint32 or float32"),
        ("colour outside the point", r"its colour rgb must be one uint32 or float32"),
        ("short", r"2x2 points of 16 bytes in rows of 32 has 63 bytes only, not 64"),
        ("short rows", r"in rows of 36 has 64 bytes only, not 68"),
        ("huge", r"has 64 bytes only, not"),
    ],
)
def test_a_cloud_that_is_not_whole_is_refused_in_one_sentence(how, sentence):
    cloud = make_cloud(POINTS, COLOURS, rows=2)
    _break(cloud, how)
    with pytest.raises(BadInput, match=sentence) as caught:
        cloud_arrays(cloud)
    assert "\n" not in str(caught.value)


def test_the_node_s_own_cloud_is_read_back():
    point_cloud = pytest.importorskip("clip_depth_ros.ros.point_cloud")
    header = pytest.importorskip("std_msgs.msg").Header
    points = np.random.default_rng(0).uniform(0.5, 4.0, (6, 8, 3)).astype(np.float32)
    points[2, 3] = np.nan
    rgb = np.random.default_rng(1).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    found, colours = cloud_arrays(point_cloud.cloud_message(header(), points, rgb))
    finite = np.isfinite(points).all(axis=2)
    np.testing.assert_array_equal(found, points[finite])
    np.testing.assert_array_equal(colours, rgb[finite])
