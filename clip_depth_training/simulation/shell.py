"""The shell of a simulated room: floor, ceiling, walls, an open doorway, a jutting corner."""

from __future__ import annotations

import math

import numpy as np

from clip_depth_training.simulation import furniture
from clip_depth_training.simulation.primitives import Geom, Piece, turn
from clip_depth_training.simulation.scene import Footprint, Room, Wall


def _slab(room: Room, wall: Wall, low: float, high: float, centre: float, length: float, material: str) -> None:
    """Adds the part of a wall between two heights, its picture towards the room."""
    (ax, ay), (nx, ny) = wall.along, wall.normal
    heading = math.atan2(ny, nx) - math.pi / 2
    piece = Piece()
    piece.panel((0, -0.05, (low + high) / 2), length, high - low, 0.1, material)
    holder = Piece()
    holder.add(piece, wall.x + ax * centre, wall.y + ay * centre, 0, heading)
    room.geoms += holder.geoms


def add_shell(room: Room, rng: np.random.Generator) -> list[Wall]:
    """Adds floor, ceiling, walls (at times with an open doorway into a second room, or a jutting corner), skirting."""
    width, depth, height = room.size
    walls = [
        Wall(width / 2, 0, (0, 1), (-1, 0), depth),
        Wall(-width / 2, 0, (0, 1), (1, 0), depth),
        Wall(0, depth / 2, (1, 0), (0, -1), width),
        Wall(0, -depth / 2, (1, 0), (0, 1), width),
    ]
    room.geoms.append(Geom("box", (width / 2 + 0.2, depth / 2 + 0.2, 0.05), (0, 0, -0.05), "floor"))
    room.geoms.append(
        Geom("box", (width / 2 + 0.2, depth / 2 + 0.2, 0.05), (0, 0, height + 0.05), "ceiling", turn("x", math.pi))
    )
    skirting = rng.uniform(0.05, 0.14) if rng.uniform() < 0.75 else 0.0
    trim = "white" if rng.uniform() < 0.5 else furniture.pick(rng, "wood", "paint")
    opened = int(rng.integers(4)) if rng.uniform() < 0.3 else -1
    for index, wall in enumerate(walls):
        spans = [(0.0, wall.length)]
        if index == opened:
            spans = _doorway(room, wall, rng, f"wall{index}")
        for centre, length in spans:
            _slab(room, wall, 0, height, centre, length, f"wall{index}")
            if skirting:
                raised = Wall(
                    wall.x + wall.normal[0] * 0.012, wall.y + wall.normal[1] * 0.012, wall.along, wall.normal, length
                )
                _slab(room, raised, 0, skirting, centre, length, trim)
    if opened >= 0:
        walls.pop(opened)
    if min(width, depth) > 3 and rng.uniform() < 0.3:
        half_x, half_y = rng.uniform(0.15, 0.3 * width), rng.uniform(0.15, 0.3 * depth)
        x, y = float(rng.choice([-1, 1])) * (width / 2 - half_x), float(rng.choice([-1, 1])) * (depth / 2 - half_y)
        for nx, ny, span, out in (
            (1, 0, half_y, half_x),
            (-1, 0, half_y, half_x),
            (0, 1, half_x, half_y),
            (0, -1, half_x, half_y),
        ):
            face = Wall(x + nx * out, y + ny * out, (abs(ny), abs(nx)), (nx, ny), 2 * span)
            _slab(room, face, 0, height, 0, 2 * span, "wall0")
        room.footprints.append(Footprint(x, y, half_x, half_y, height))
    return walls


def _doorway(room: Room, wall: Wall, rng: np.random.Generator, material: str) -> list[tuple[float, float]]:
    """Cuts an opening of 0.9 to 2 m into a wall, with a second room behind it; returns the spans of wall left."""
    height, width = room.size[2], min(float(rng.uniform(0.9, 2.0)), wall.length - 0.6)
    centre = float(rng.uniform(-1, 1)) * (wall.length - width - 0.4) / 2
    lintel = rng.uniform(2.0, 2.1)
    _slab(room, wall, lintel, height, centre, width, material)
    (ax, ay), (nx, ny) = wall.along, wall.normal
    deep, half = rng.uniform(1.5, 4.0), wall.length / 2
    back = Wall(wall.x - nx * deep, wall.y - ny * deep, wall.along, wall.normal, wall.length)
    _slab(room, back, 0, height, 0, wall.length, "wall0")
    for side in (-1, 1):
        flank = Wall(
            wall.x - nx * deep / 2 + side * ax * half,
            wall.y - ny * deep / 2 + side * ay * half,
            (abs(nx), abs(ny)),
            (-side * ax, -side * ay),
            deep,
        )
        _slab(room, flank, 0, height, 0, deep, "wall1")
        edge = centre + side * (width / 2 + 0.03)
        x, y = wall.x + ax * edge, wall.y + ay * edge
        room.geoms.append(
            Geom(
                "box",
                (0.03 + 0.05 * abs(nx), 0.03 + 0.05 * abs(ny), lintel / 2),
                (x - nx * 0.05, y - ny * 0.05, lintel / 2),
                "white",
            )
        )
    middle = (wall.x - nx * (deep / 2 + 0.1), wall.y - ny * (deep / 2 + 0.1))
    half_x, half_y = (deep / 2, half) if nx else (half, deep / 2)
    room.geoms.append(Geom("box", (half_x, half_y, 0.05), (*middle, -0.051), "floor2"))
    room.geoms.append(Geom("box", (half_x, half_y, 0.05), (*middle, height + 0.051), "ceiling", turn("x", math.pi)))
    extra = furniture.FREE[int(rng.integers(len(furniture.FREE)))][0](rng)
    holder = Piece()
    holder.add(extra, *middle, 0.0, float(rng.uniform(0, 6.28)))
    room.geoms += holder.geoms
    along = ax * room.size[0] + ay * room.size[1]
    door_x, door_y = wall.x + ax * centre, wall.y + ay * centre
    room.footprints.append(Footprint(door_x, door_y, 0.6 + 0.5 * abs(ax), 0.6 + 0.5 * abs(ay), 0.0))
    left, right = centre - width / 2 + along / 2, along / 2 - centre - width / 2
    return [(left / 2 - along / 2, left), (along / 2 - right / 2, right)]
