from __future__ import annotations

import struct
from types import SimpleNamespace

import numpy as np
import pytest

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.cloud import cloud_arrays


def _cloud(points, names="xyz", rgb=None, step=16, rgb_offset=12):
    fields = [SimpleNamespace(name=name, offset=4 * index, datatype=7, count=1) for index, name in enumerate(names)]
    if rgb is not None:
        fields.append(SimpleNamespace(name="rgb", offset=rgb_offset, datatype=7, count=1))
    data = bytearray(step * len(points))
    for index, point in enumerate(points):
        struct.pack_into("<3f", data, index * step, *point)
        if rgb is not None:
            red, green, blue = rgb[index]
            struct.pack_into("<I", data, index * step + rgb_offset, red << 16 | green << 8 | blue)
    raw = np.frombuffer(bytes(data), np.uint8)
    return SimpleNamespace(width=len(points), height=1, point_step=step, is_bigendian=False, fields=fields, data=raw)


@pytest.mark.parametrize(("step", "rgb_offset"), [(16, 12), (32, 16)])
def test_finite_points_and_their_colours_wherever_the_fields_lie(step, rgb_offset):
    points = [(1, 2, 3), (float("nan"),) * 3, (4, 5, 6)]
    colours = [(255, 1, 2), (9, 9, 9), (3, 254, 128)]
    found, rgb = cloud_arrays(_cloud(points, rgb=colours, step=step, rgb_offset=rgb_offset))
    np.testing.assert_array_equal(found, np.array([(1, 2, 3), (4, 5, 6)], np.float32))
    np.testing.assert_array_equal(rgb, [(255, 1, 2), (3, 254, 128)])


def test_a_cloud_without_colour_is_grey():
    _, rgb = cloud_arrays(_cloud([(1, 2, 3)]))
    np.testing.assert_array_equal(rgb, [(128, 128, 128)])


def test_a_cloud_that_is_not_whole_is_refused():
    with pytest.raises(BadInput, match="x, y and z"):
        cloud_arrays(_cloud([(1, 2, 3)], names="xyw"))
    cloud = _cloud([(1, 2, 3)])
    cloud.data = cloud.data[:10]
    with pytest.raises(BadInput, match="has 10 bytes, not 16"):
        cloud_arrays(cloud)


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
