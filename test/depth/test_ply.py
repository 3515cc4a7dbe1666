"""PLY files, read back with plyfile."""

from __future__ import annotations

import numpy as np
import plyfile
import pytest

from clip_depth_ros.depth.ply import write_ply
from clip_depth_ros.errors import BadInput


def cloud():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(6, 8, 3)).astype(np.float32)
    return points, generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def test_points_and_colours_come_back_and_missing_points_do_not(tmp_path):
    points, rgb = cloud()
    points[0, 0] = np.nan
    points[2, 3, 1] = np.inf
    path = tmp_path / "cloud.ply"
    assert write_ply(path, points, rgb) == 46
    data = plyfile.PlyData.read(str(path))
    assert not data.text
    assert data.byte_order == "<"
    vertices = data["vertex"]
    assert [p.name for p in vertices.properties] == ["x", "y", "z", "red", "green", "blue"]
    finite = np.isfinite(points).all(axis=2)
    np.testing.assert_array_equal(np.column_stack([vertices[axis] for axis in "xyz"]), points[finite])
    colours = np.column_stack([vertices[name] for name in ("red", "green", "blue")])
    np.testing.assert_array_equal(colours, rgb[finite])
    assert vertices["x"].dtype == np.float32
    assert vertices["red"].dtype == np.uint8


def test_a_cloud_without_any_point_is_a_valid_file(tmp_path):
    points, rgb = cloud()
    assert write_ply(tmp_path / "none.ply", np.full_like(points, np.nan), rgb) == 0
    assert len(plyfile.PlyData.read(str(tmp_path / "none.ply"))["vertex"].data) == 0


def test_an_older_file_is_replaced_and_nothing_else_is_left(tmp_path):
    points, rgb = cloud()
    path = tmp_path / "cloud.ply"
    path.write_text("old")
    write_ply(path, points, rgb)
    assert path.read_bytes().startswith(b"ply\nformat binary_little_endian 1.0\n")
    assert [p.name for p in tmp_path.iterdir()] == ["cloud.ply"]


def test_a_failure_leaves_the_older_file_and_no_other(tmp_path):
    points, rgb = cloud()
    (tmp_path / "folder.ply").mkdir()  # a folder of that name: the rename fails for any user
    with pytest.raises(BadInput, match=r"folder\.ply"):
        write_ply(tmp_path / "folder.ply", points, rgb)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.ply"]


def test_colours_of_another_number_are_refused(tmp_path):
    points, rgb = cloud()
    with pytest.raises(BadInput, match="48 points but 40 colours"):
        write_ply(tmp_path / "cloud.ply", points, rgb[:5])
    assert not list(tmp_path.iterdir())
