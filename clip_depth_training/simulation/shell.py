"""The shell of a simulated room: floor, ceiling, walls, an open doorway or alcove, a jutting corner."""

from __future__ import annotations

import math

import numpy as np

from clip_depth_training.simulation import furniture, shapes
from clip_depth_training.simulation.primitives import Geom, Piece, turn
from clip_depth_training.simulation.scene import Footprint, Room, Wall


def _slab(room: Room, wall: Wall, low: float, high: float, centre: float, length: float, material: str) -> None:
    """Adds the part of a wall between two heights, its picture towards the room."""
    (ax, ay), heading = wall.along, _turn(wall)
    piece = Piece()
    piece.panel((0, -0.05, (low + high) / 2), length, high - low, 0.1, material)
    holder = Piece()
    holder.add(piece, wall.x + ax * centre, wall.y + ay * centre, 0, heading)
    room.geoms += holder.geoms


def add_shell(room: Room, rng: np.random.Generator) -> list[Wall]:
    """Adds floor, ceiling, walls and skirting in one of many shapes. Returns the walls that things can stand at."""
    width, depth, height = room.size
    shape = rng.uniform()
    large = min(width, depth)
    if shape < 0.2 and large > 2.2:
        shapes.slant(room, rng)
    walls = shapes.walls_of(shapes.outline(room))
    room.geoms.append(Geom("box", (width / 2 + 0.2, depth / 2 + 0.2, 0.05), (0, 0, -0.05), "floor"))
    room.geoms.append(
        Geom("box", (width / 2 + 0.2, depth / 2 + 0.2, 0.05), (0, 0, height + 0.05), "ceiling", turn("x", math.pi))
    )
    if 0.2 < shape < 0.3 and large > 2.2 and height < 3.1:
        shapes.add_attic(room, walls[int(rng.integers(len(walls)))], rng)
    _raise_walls(room, walls, rng)
    if 0.3 < shape < 0.6 and large > 3:
        walls += _jutting_corner(room, rng)
    if rng.uniform() < (0.15 if large > 4 else 0.0):
        shapes.add_pillars(room, rng)
    if rng.uniform() < 0.15:
        shapes.add_beams(room, rng)
    return walls


def _raise_walls(room: Room, walls: list[Wall], rng: np.random.Generator) -> None:
    """Builds the walls with their skirting; at times one has an opening or an alcove, and leaves the list."""
    skirting = rng.uniform(0.05, 0.14) if rng.uniform() < 0.75 else 0.0
    trim = "white" if rng.uniform() < 0.5 else furniture.pick(rng, "wood", "paint")
    straight = [i for i, wall in enumerate(walls) if max(map(abs, wall.normal)) > 0.999 and wall.length > 1.8]
    wanted = rng.uniform() < 0.4 and bool(straight) and not room.slopes
    opened = int(rng.choice(straight)) if wanted else -1
    for index, wall in enumerate(walls):
        material = f"wall{index % 4}"
        # Walls reach a little beyond their corners, outside the room, so that no light leaks in.
        spans = [(0.0, wall.length + 0.08)]
        if index == opened:
            spans = _opening(room, wall, rng, material)
        for centre, length in spans:
            _slab(room, wall, 0, room.size[2], centre, length, material)
            if skirting:
                raised = Wall(
                    wall.x + wall.normal[0] * 0.012, wall.y + wall.normal[1] * 0.012, wall.along, wall.normal, length
                )
                _slab(room, raised, 0, skirting, centre, length, trim)
    if opened >= 0:
        walls.pop(opened)


def _jutting_corner(room: Room, rng: np.random.Generator) -> list[Wall]:
    """Fills a corner, up to more than half of the sides: the room becomes L-shaped. Returns the new walls."""
    width, depth, height = room.size
    half_x, half_y = rng.uniform(0.15, 0.3 * width), rng.uniform(0.15, 0.3 * depth)
    x, y = float(rng.choice([-1, 1])) * (width / 2 - half_x), float(rng.choice([-1, 1])) * (depth / 2 - half_y)
    faces = []
    sides = ((1, 0, half_y, half_x), (-1, 0, half_y, half_x), (0, 1, half_x, half_y), (0, -1, half_x, half_y))
    for nx, ny, span, out in sides:
        face = Wall(x + nx * out, y + ny * out, (abs(ny), abs(nx)), (nx, ny), 2 * span)
        _slab(room, face, 0, height, 0, 2 * span, "wall0")
        if nx * x + ny * y < 0:  # the face looks into the room
            faces.append(face)
    room.footprints.append(Footprint(x, y, half_x, half_y, height))
    return faces


def _opening(room: Room, wall: Wall, rng: np.random.Generator, material: str) -> list[tuple[float, float]]:
    """Cuts a doorway of 0.9 to 2 m (at times arched) into a wall, with a second room behind it, or an alcove of 0.3 to
    0.9 m; returns the spans of wall left."""
    height, width = room.size[2], min(float(rng.uniform(0.9, 2.0)), wall.length - 0.6)
    alcove = rng.uniform() < 0.25
    arched = not alcove and rng.uniform() < 0.3
    if alcove:
        width = min(float(rng.uniform(1.0, 3.0)), wall.length - 0.6)
    centre = float(rng.uniform(-1, 1)) * (wall.length - width - 0.4) / 2
    lintel = rng.uniform(2.0, 2.1) + (min(0.25 * width, height - 2.2) if arched else 0.0)
    _slab(room, wall, lintel, height, centre, width, material)
    (ax, ay), (nx, ny) = wall.along, wall.normal
    if arched:
        curve = Piece()
        curve.add(shapes.arch(width, lintel, "white"), wall.x + ax * centre, wall.y + ay * centre, 0.0, _turn(wall))
        room.geoms += curve.geoms
    deep, half = rng.uniform(0.3, 0.9) if alcove else rng.uniform(1.5, 4.0), wall.length / 2
    back = Wall(wall.x - nx * deep, wall.y - ny * deep, wall.along, wall.normal, wall.length)
    _slab(room, back, 0, height, 0, wall.length + 0.1, "wall0")
    for side in (-1, 1):
        flank = Wall(
            wall.x - nx * deep / 2 + side * ax * half,
            wall.y - ny * deep / 2 + side * ay * half,
            (abs(nx), abs(ny)),
            (-side * ax, -side * ay),
            deep,
        )
        _slab(room, flank, 0, height, -0.05 * (nx + ny), deep + 0.1, "wall1")
        # A post beside the opening covers the ends of the wall.
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
    half_x, half_y = (deep / 2, half) if abs(nx) > 0.5 else (half, deep / 2)
    ground = "floor" if alcove else "floor2"
    room.geoms.append(Geom("box", (half_x, half_y, 0.05), (*middle, -0.051), ground))
    room.geoms.append(Geom("box", (half_x, half_y, 0.05), (*middle, height + 0.051), "ceiling", turn("x", math.pi)))
    if not alcove:
        _furnish_behind(room, middle, rng)
    along = wall.length
    door_x, door_y = wall.x + ax * centre, wall.y + ay * centre
    room.footprints.append(Footprint(door_x, door_y, 0.6 + 0.5 * abs(ax), 0.6 + 0.5 * abs(ay), 0.0))
    left, right = centre - width / 2 + along / 2, along / 2 - centre - width / 2
    over = 0.04  # as other walls reach beyond their corners
    return [
        (left / 2 - along / 2 - over / 2, left + over),
        (along / 2 - right / 2 + over / 2, right + over),
    ]


def _furnish_behind(room: Room, middle: tuple[float, float], rng: np.random.Generator) -> None:
    """Stands one thing in the room behind a doorway."""
    makers = (furniture.table, furniture.sofa, furniture.chair, furniture.plant, furniture.cartons, furniture.person)
    extra = makers[int(rng.integers(len(makers)))](rng)
    holder = Piece()
    holder.add(extra, *middle, 0.0, float(rng.uniform(0, 6.28)))
    room.geoms += holder.geoms


def _turn(wall: Wall) -> float:
    """Returns the angle that turns a piece's front (+y) to where a wall faces."""
    return math.atan2(wall.normal[1], wall.normal[0]) - math.pi / 2
