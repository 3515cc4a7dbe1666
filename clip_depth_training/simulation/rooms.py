"""Simulated rooms of real-world sizes, as MuJoCo models.

One seed gives one room, on every machine. World axes follow REP 103 (x, y on the floor, z up, metres).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from clip_depth_training.simulation import clutter, furniture
from clip_depth_training.simulation.finish import add_lights, add_materials
from clip_depth_training.simulation.furniture import Maker
from clip_depth_training.simulation.primitives import Geom, Piece
from clip_depth_training.simulation.scene import Footprint, Room, Wall
from clip_depth_training.simulation.shell import add_shell


def make_room(seed: int) -> Room:
    """Returns the room of ``seed``: shell, doors, windows, furniture, clutter, materials and lights."""
    rng = np.random.default_rng([seed, 0x0E0])
    kind = float(rng.uniform())
    if kind < 0.15:
        size = (rng.uniform(1.3, 2.4), rng.uniform(4.0, 10.0))
    elif kind < 0.75:
        size = (rng.uniform(2.4, 5.5), rng.uniform(2.8, 7.0))
    else:
        size = (rng.uniform(5.0, 9.0), rng.uniform(5.0, 10.0))
    room = Room(seed, (float(size[0]), float(size[1]), float(rng.uniform(2.3, 3.0))))
    add_materials(room, rng)
    walls = add_shell(room, rng)
    _fill(room, walls, rng)
    _hang(room, walls, rng)
    add_lights(room, rng)
    return room


def _choose(rng: np.random.Generator, makers: Sequence[tuple[Maker, float]]) -> Maker:
    """Returns one maker, drawn by its weight."""
    weights = np.array([weight for _, weight in makers])
    return makers[int(rng.choice(len(makers), p=weights / weights.sum()))][0]


def _place(room: Room, piece: Piece, x: float, y: float, heading: float, margin: float) -> bool:
    """Adds a piece where it fits: inside the room and clear of what stands there. Returns whether it did."""
    half_x, half_y, height = piece.reach()
    cos, sin = abs(math.cos(heading)), abs(math.sin(heading))
    spot = Footprint(x, y, half_x * cos + half_y * sin, half_x * sin + half_y * cos, height)
    inside = abs(x) + spot.half_x < room.size[0] / 2 + 0.01 and abs(y) + spot.half_y < room.size[1] / 2 + 0.01
    if height > room.size[2] - 0.03 or not inside or any(spot.overlaps(other, margin) for other in room.footprints):
        return False
    holder = Piece()
    holder.add(piece, x, y, 0.0, heading)
    room.geoms += holder.geoms
    room.footprints.append(spot)
    return True


def _fill(room: Room, walls: list[Wall], rng: np.random.Generator) -> None:
    """Furnishes the room: against the walls, then free standing with chairs at tables, then rugs."""
    width, depth, _ = room.size
    amount = rng.uniform(0.2, 1.3)
    density = rng.uniform(1.0, 9.0)
    for wall in walls:
        for _ in range(int(rng.poisson(amount * wall.length * 0.9))):
            piece = _choose(rng, furniture.AGAINST_WALL)(rng)
            clutter.scatter(piece, rng, density)
            offset = float(rng.uniform(-0.5, 0.5)) * wall.length
            gap = piece.reach()[1] + 0.01
            x, y = (p + a * offset + n * gap for p, a, n in zip((wall.x, wall.y), wall.along, wall.normal))
            _place(room, piece, x, y, math.atan2(wall.normal[1], wall.normal[0]) - math.pi / 2, 0.03)
    for _ in range(int(rng.poisson(amount * width * depth * 0.3))):
        piece = _choose(rng, furniture.FREE)(rng)
        clutter.scatter(piece, rng, density)
        x, y = rng.uniform(-0.45, 0.45) * width, rng.uniform(-0.45, 0.45) * depth
        heading = float(rng.choice([0, 1, 2, 3])) * math.pi / 2 + rng.normal(0, 0.15)
        if not _place(room, piece, x, y, heading, 0.1) or not piece.tops or piece.tops[0][2] < 0.6:
            continue
        _seat(room, piece, x, y, heading, rng)
    if rng.uniform() < 0.3:
        half = (rng.uniform(0.6, 1.2), rng.uniform(0.5, 0.9))
        at = (rng.uniform(-0.25, 0.25) * width, rng.uniform(-0.25, 0.25) * depth)
        if half[0] < width / 2 and half[1] < depth / 2:
            room.geoms.append(Geom("box", (half[0], half[1], 0.006), (at[0], at[1], 0.006), "rug"))


def _seat(room: Room, table: Piece, x: float, y: float, heading: float, rng: np.random.Generator) -> None:
    """Puts up to six chairs of one kind around a table that stands at (x, y)."""
    kind = furniture.chair if rng.uniform() < 0.6 else furniture.office_chair
    for _ in range(int(rng.integers(0, 7))):
        side, reach = float(rng.choice([0, 1, 2, 3])) * math.pi / 2 + heading, table.reach()
        out = (reach[1] if round((side - heading) / (math.pi / 2)) % 2 == 0 else reach[0]) + rng.uniform(0.1, 0.4)
        slide = rng.uniform(-0.4, 0.4) * (reach[0] if out < reach[0] else reach[1])
        chair_x = x + math.sin(side) * out + math.cos(side) * slide
        chair_y = y - math.cos(side) * out + math.sin(side) * slide
        _place(room, kind(rng), chair_x, chair_y, side + rng.normal(0, 0.3), -0.12)


def _hang(room: Room, walls: list[Wall], rng: np.random.Generator) -> None:
    """Hangs doors, windows, pictures, boards and fittings on the walls, side by side."""
    for wall in walls:
        cursor = -wall.length / 2 + rng.uniform(0.1, 1.0)
        while cursor < wall.length / 2:
            piece = _choose(rng, clutter.ON_WALL)(rng)
            half = piece.reach()[0]
            centre = cursor + half
            if centre + half > wall.length / 2 - 0.05:
                break
            holder = Piece()
            x, y = wall.x + wall.along[0] * centre, wall.y + wall.along[1] * centre
            holder.add(piece, x, y, 0.0, math.atan2(wall.normal[1], wall.normal[0]) - math.pi / 2)
            room.geoms += holder.geoms
            cursor += 2 * half + rng.uniform(0.1, 1.8)
