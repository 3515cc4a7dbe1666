"""Meshes that are computed, not loaded: surfaces of revolution, rounded boxes, rings and prisms, in metres.

MuJoCo derives the normals from shared vertices, so curved surfaces are shaded smoothly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clip_depth_training.simulation.primitives import Mesh


def _centred(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Returns a mesh moved so that its bounding box lies about the origin."""
    middle = (vertices.min(0) + vertices.max(0)) / 2
    return Mesh(np.asarray(vertices - middle, np.float64), np.asarray(faces, np.int64))


def _grid_faces(rows: int, columns: int, closed_rows: bool) -> np.ndarray:
    """Returns the triangles (M, 3) of a grid of vertices whose columns (and at times rows) are closed to a ring."""
    row, column = np.indices((rows if closed_rows else rows - 1, columns))
    below, right = (row + 1) % rows, (column + 1) % columns
    a, b, c, d = row * columns + column, row * columns + right, below * columns + right, below * columns + column
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def revolve(profile: Sequence[tuple[float, float]], segments: int = 14) -> Mesh:
    """Returns the solid that a profile of (radius, height) points makes about z.

    The profile runs from the bottom upwards, outside first; both ends are closed with a disc.
    """
    points = np.asarray([(0.0, profile[0][1]), *profile, (0.0, profile[-1][1])], float)
    points[:, 0] = np.maximum(points[:, 0], 1e-4)  # triangles without area would upset the normals
    angles = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], -1)
    vertices = np.concatenate(
        [points[:, None, :1] * ring[None], np.broadcast_to(points[:, None, 1:], (len(points), segments, 1))], -1
    )
    return _centred(vertices.reshape(-1, 3), _grid_faces(len(points), segments, closed_rows=False))


def rounded_box(size: Sequence[float], roundness: float = 0.35, rows: int = 9, columns: int = 16) -> Mesh:
    """Returns a superellipsoid of full lengths ``size``: 0 nearly a box, 1 an ellipsoid (Barr 1981)."""
    power = max(roundness, 0.12)
    latitude = np.linspace(-np.pi / 2 * 0.999, np.pi / 2 * 0.999, rows)
    # Columns crowd towards the edges, where a superellipse bends.
    longitude = np.linspace(0, 2 * np.pi, columns, endpoint=False) + np.pi / columns

    def bend(value: np.ndarray) -> np.ndarray:
        return np.asarray(np.sign(value) * np.abs(value) ** power)

    x = bend(np.cos(latitude))[:, None] * bend(np.cos(longitude))[None]
    y = bend(np.cos(latitude))[:, None] * bend(np.sin(longitude))[None]
    z = np.broadcast_to(bend(np.sin(latitude))[:, None], x.shape)
    vertices = np.stack([x, y, z], -1).reshape(-1, 3)
    vertices /= np.abs(vertices).max(0)
    return _centred(vertices * np.asarray(size) / 2, _grid_faces(rows, columns, closed_rows=False))


def ring(radius: float, thickness: float, segments: int = 18, around: int = 8) -> Mesh:
    """Returns a torus in the plane of x and y: outer radius ``radius``, tube of diameter ``thickness``."""
    middle = radius - thickness / 2
    turn, tube = np.meshgrid(
        np.linspace(0, 2 * np.pi, segments, endpoint=False),
        -np.linspace(0, 2 * np.pi, around, endpoint=False),
        indexing="ij",
    )
    out = middle + thickness / 2 * np.cos(tube)
    vertices = np.stack([out * np.cos(turn), out * np.sin(turn), thickness / 2 * np.sin(tube)], -1)
    return _centred(vertices.reshape(-1, 3), _grid_faces(segments, around, closed_rows=True))


def prism(outline: Sequence[tuple[float, float]], depth: float) -> Mesh:
    """Returns an upright board: ``outline`` (x, z), a fan about its first point, is ``depth`` thick along y."""
    flat = np.asarray(outline, float)
    count = len(flat)
    front = np.stack([flat[:, 0], np.full(count, depth / 2), flat[:, 1]], -1)
    back = front * (1, -1, 1)
    following = np.roll(flat, -1, axis=0)
    area = (flat[:, 0] * following[:, 1] - flat[:, 1] * following[:, 0]).sum()
    index = np.arange(count)
    after = np.roll(index, -1)
    fan = np.stack([np.zeros(count - 2, int), index[2:], index[1:-1]], -1)
    # Sides have their own vertices: a shared one would round the edges.
    sides = np.concatenate(
        [
            np.stack([index, index + count, after + count], -1),
            np.stack([index, after + count, after], -1),
        ]
    )
    faces = np.concatenate([fan, fan[:, ::-1] + count, sides[:, ::-1] + 2 * count])
    if area < 0:
        faces = faces[:, ::-1]
    return _centred(np.concatenate([front, back, front, back]), faces)
