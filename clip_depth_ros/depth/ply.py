"""Point clouds as PLY files, for MeshLab, CloudCompare, Open3D and the like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing

_VERTEX = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")],
)


def write_ply(path: str | Path, points: np.ndarray, rgb: np.ndarray) -> int:
    """Writes coloured points as binary little-endian PLY and returns how many.

    Args:
        path: the file; it appears whole or not at all, its folder is made where it is missing.
        points: (..., 3) float32, metres; a point with a NaN or infinite coordinate is left out.
        rgb: (..., 3) uint8, one colour a point.

    Raises:
        BadInput: points and colours differ in number, or the file cannot be written.
    """
    points, rgb = points.reshape(-1, 3), rgb.reshape(-1, 3)
    if len(points) != len(rgb):
        raise BadInput(f"{path}: {len(points)} points but {len(rgb)} colours: give one colour a point")
    finite = np.isfinite(points).all(axis=1)
    vertices = np.empty(int(finite.sum()), _VERTEX)
    for column, name in enumerate("xyz"):
        vertices[name] = points[finite, column]
    for column, name in enumerate(("red", "green", "blue")):
        vertices[name] = rgb[finite, column]

    with replacing(Path(path)) as temporary:
        PlyData([PlyElement.describe(vertices, "vertex")], text=False, byte_order="<").write(str(temporary))
    return len(vertices)
