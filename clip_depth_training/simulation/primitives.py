"""The solids that simulated rooms are built from: boxes, cylinders, ellipsoids and meshes, in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Tag:
    """What a solid belongs to, for captions: a noun and the material that gives the colour. One tag, one thing."""

    noun: str
    material: str


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles: vertices (N, 3) in metres, centred on their bounding box, and faces (M, 3) seen counter-clockwise."""

    vertices: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True)
class Geom:
    """One MuJoCo solid: ``size`` in MuJoCo's convention (half lengths; of a mesh, those of its bounding box),
    ``quaternion`` as w, x, y, z."""

    kind: str
    size: tuple[float, ...]
    position: Vector
    material: str
    quaternion: Quaternion = (1.0, 0.0, 0.0, 0.0)
    tag: Tag | None = None
    mesh: Mesh | None = None

    def span(self) -> np.ndarray:
        """Returns half lengths (3,) of the upright box that holds the solid, in metres."""
        half = np.array([self.size[0], self.size[0], self.size[1]] if self.kind == "cylinder" else self.size)
        w, x, y, z = self.quaternion
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        return np.asarray(np.abs(rotation) @ half)


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """Returns the product of two quaternions (w, x, y, z)."""
    w, x, y, z = a
    p, q, r, s = b
    return (
        w * p - x * q - y * r - z * s,
        w * q + x * p + y * s - z * r,
        w * r - x * s + y * p + z * q,
        w * s + x * r - y * q + z * p,
    )


def turn(axis: str, angle: float) -> Quaternion:
    """Returns the quaternion of a rotation by ``angle`` radians about the axis "x", "y" or "z"."""
    parts = [math.cos(angle / 2), 0.0, 0.0, 0.0]
    parts["xyz".index(axis) + 1] = math.sin(angle / 2)
    return (parts[0], parts[1], parts[2], parts[3])


@dataclass
class Piece:
    """A piece of furniture.

    Attributes:
        geoms: its solids, about its own origin on the floor.
        tops: flat tops (x, y, z, half width, half depth) that clutter can stand on.
    """

    geoms: list[Geom] = field(default_factory=list)
    tops: list[tuple[float, float, float, float, float]] = field(default_factory=list)

    def box(self, low: Vector, size: Vector, material: str) -> None:
        """Adds an upright box; ``low`` is the centre of its underside, ``size`` its full lengths."""
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self.geoms.append(Geom("box", half, (low[0], low[1], low[2] + half[2]), material))

    def cylinder(self, low: Vector, radius: float, height: float, material: str) -> None:
        """Adds an upright cylinder; ``low`` is the centre of its underside."""
        self.geoms.append(Geom("cylinder", (radius, height / 2), (low[0], low[1], low[2] + height / 2), material))

    def ellipsoid(self, centre: Vector, half: Vector, material: str, tilt: float = 0.0, heading: float = 0.0) -> None:
        """Adds an ellipsoid, tilted about x and then turned about z (radians)."""
        self.geoms.append(Geom("ellipsoid", half, centre, material, multiply(turn("z", heading), turn("x", tilt))))

    def bar(self, start: Vector, end: Vector, radius: float, material: str) -> None:
        """Adds a round bar between two points."""
        direction = np.subtract(end, start)
        length = float(np.linalg.norm(direction))
        heading = math.atan2(direction[1], direction[0])
        lean = math.acos(max(-1.0, min(1.0, float(direction[2]) / length)))
        middle = np.add(start, end) / 2
        quaternion = multiply(turn("z", heading), turn("y", lean))
        position = (float(middle[0]), float(middle[1]), float(middle[2]))
        self.geoms.append(Geom("cylinder", (radius, length / 2), position, material, quaternion))

    def panel(
        self, centre: Vector, width: float, height: float, thickness: float, material: str, lean: float = 0.0
    ) -> None:
        """Adds an upright board whose picture faces +y; ``lean`` (radians) tips its top backwards."""
        quaternion = multiply(multiply(turn("z", math.pi), turn("x", math.pi / 2)), turn("x", -lean))
        self.geoms.append(Geom("box", (width / 2, height / 2, thickness / 2), centre, material, quaternion))

    def mesh(self, low: Vector, mesh: Mesh, material: str, quaternion: Quaternion = (1.0, 0.0, 0.0, 0.0)) -> None:
        """Adds a mesh; ``low`` is the centre of its underside."""
        half = np.abs(mesh.vertices).max(0)
        geom = Geom("mesh", (float(half[0]), float(half[1]), float(half[2])), low, material, quaternion, None, mesh)
        self.geoms.append(replace(geom, position=(low[0], low[1], low[2] + float(geom.span()[2]))))

    def name(self, noun: str, material: str) -> Piece:
        """Says what the solids are that have no name yet. Returns the piece."""
        tag = Tag(noun, material)
        self.geoms = [geom if geom.tag else replace(geom, tag=tag) for geom in self.geoms]
        return self

    def add(self, other: Piece, x: float, y: float, z: float, heading: float) -> None:
        """Adds another piece at (x, y, z), turned by ``heading`` radians about z."""
        cos, sin, rotation = math.cos(heading), math.sin(heading), turn("z", heading)
        for geom in other.geoms:
            px, py, pz = geom.position
            position = (x + cos * px - sin * py, y + sin * px + cos * py, z + pz)
            self.geoms.append(replace(geom, position=position, quaternion=multiply(rotation, geom.quaternion)))

    def reach(self) -> tuple[float, float, float]:
        """Returns half width, half depth and height of a box about the origin that holds the piece."""
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for geom in self.geoms:
            span = geom.span()
            low, high = np.minimum(low, geom.position - span), np.maximum(high, geom.position + span)
        return float(max(-low[0], high[0])), float(max(-low[1], high[1])), float(high[2])
