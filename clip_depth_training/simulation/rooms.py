"""Simulated rooms of real-world sizes, as MuJoCo models.

One seed gives one room, on every machine. World axes follow REP 103 (x, y on the floor, z up, metres).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from clip_depth_training.simulation import clutter, furniture
from clip_depth_training.simulation.finish import add_lights, add_materials
from clip_depth_training.simulation.kinds import KINDS, RoomKind
from clip_depth_training.simulation.primitives import Geom, Piece
from clip_depth_training.simulation.scene import Footprint, Room, Wall
from clip_depth_training.simulation.shell import add_shell

T = TypeVar("T")
_WITHOUT_COMPUTERS = ("kitchen", "dining room", "bathroom", "laundry room", "storage room", "corridor")


def make_room(seed: int) -> Room:
    """Returns the room of ``seed``: shell, doors, windows, furniture, clutter, materials and lights."""
    rng = np.random.default_rng([seed, 0x0E0])
    kind = _choose(rng, dict(KINDS))
    sides = [float(rng.uniform(*side)) for side in kind.sides]
    if rng.uniform() < 0.5:
        sides.reverse()
    room = Room(seed, (sides[0], sides[1], float(rng.uniform(*kind.height))), kind.name)
    add_materials(room, rng, kind.floors)
    walls = add_shell(room, rng)
    _fill(room, kind, walls, rng)
    _hang(room, kind, walls, rng)
    add_lights(room, rng)
    return room


def _choose(rng: np.random.Generator, weights: Mapping[T, float]) -> T:
    """Returns one key, drawn by its weight."""
    odds = np.array(list(weights.values()))
    return list(weights)[int(rng.choice(len(odds), p=odds / odds.sum()))]


def _place(room: Room, piece: Piece, x: float, y: float, heading: float, margin: float) -> bool:
    """Adds a piece where it fits: inside the room and clear of what stands there. Returns whether it did."""
    half_x, half_y, height = piece.reach()
    cos, sin = abs(math.cos(heading)), abs(math.sin(heading))
    spot = Footprint(x, y, half_x * cos + half_y * sin, half_x * sin + half_y * cos, height)
    turned, across = (math.cos(heading), math.sin(heading)), (-math.sin(heading), math.cos(heading))
    corners = [
        (x + i * half_x * turned[0] + j * half_y * across[0], y + i * half_x * turned[1] + j * half_y * across[1])
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    if not all(room.holds(*corner, -0.01) and height < room.headroom(*corner) - 0.03 for corner in corners):
        return False
    if any(spot.overlaps(other, margin) for other in room.footprints):
        return False
    holder = Piece()
    holder.add(piece, x, y, 0.0, heading)
    room.geoms += holder.geoms
    room.footprints.append(spot)
    return True


def _lean(room: Room, piece: Piece, wall: Wall, rng: np.random.Generator) -> bool:
    """Places a piece with its back to a wall, where it fits. Returns whether it did."""
    offset = float(rng.uniform(-0.5, 0.5)) * wall.length
    gap = piece.reach()[1] + 0.01
    x, y = (p + a * offset + n * gap for p, a, n in zip((wall.x, wall.y), wall.along, wall.normal))
    return _place(room, piece, x, y, math.atan2(wall.normal[1], wall.normal[0]) - math.pi / 2, 0.03)


def _fill(room: Room, kind: RoomKind, walls: list[Wall], rng: np.random.Generator) -> None:
    """Furnishes the room: against the walls, then free standing with chairs at tables, then rugs."""
    width, depth, _ = room.size
    amount = rng.uniform(*kind.amount)
    density = rng.uniform(1.0, 9.0)
    computers = kind.name not in _WITHOUT_COMPUTERS
    # A bedroom has a bed and a kitchen its units: what is typical comes first and gets several tries.
    for maker in sorted(kind.against, key=lambda maker: -kind.against[maker])[: int(rng.integers(1, 4))]:
        piece = maker(rng)
        clutter.scatter(piece, rng, density, computers)
        for _ in range(8):
            if _lean(room, piece, walls[int(rng.integers(len(walls)))], rng):
                break
    for wall in walls:
        for _ in range(int(rng.poisson(amount * wall.length * 1.0))):
            piece = _choose(rng, kind.standing())(rng)
            clutter.scatter(piece, rng, density, computers)
            _lean(room, piece, wall, rng)
    main = max(kind.free, key=lambda maker: kind.free[maker])
    count = int(rng.poisson(amount * width * depth * 0.3)) + 2
    for number in range(count):
        # What stands in the middle of such a room, a table in most, is tried first and twice.
        piece = (main if number < 2 else _choose(rng, kind.free))(rng)
        clutter.scatter(piece, rng, density, computers)
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


def _fits_on(room: Room, wall: Wall, piece: Piece, centre: float) -> bool:
    """Whether a piece on a wall stays under the ceiling and clear of pillars and jutting corners."""
    half, _, top = piece.reach()
    for along in (centre - half, centre, centre + half):
        x, y = (p + a * along + n * 0.03 for p, a, n in zip((wall.x, wall.y), wall.along, wall.normal))
        spot = Footprint(x, y, 0.02, 0.02, top)
        solid = any(f.height >= room.size[2] and spot.overlaps(f, 0.0) for f in room.footprints)
        if solid or top > room.headroom(x, y) - 0.02:
            return False
    return True


def _hang(room: Room, kind: RoomKind, walls: list[Wall], rng: np.random.Generator) -> None:
    """Hangs doors, windows, pictures, boards and fittings on the walls, side by side."""
    for wall in walls:
        cursor = -wall.length / 2 + rng.uniform(0.1, 1.0)
        while cursor < wall.length / 2:
            piece = _choose(rng, kind.hanging())(rng)
            half = piece.reach()[0]
            centre = cursor + half
            if centre + half > wall.length / 2 - 0.05:
                break
            holder = Piece()
            x, y = wall.x + wall.along[0] * centre, wall.y + wall.along[1] * centre
            if not _fits_on(room, wall, piece, centre):
                cursor += 0.5
                continue
            holder.add(piece, x, y, 0.0, math.atan2(wall.normal[1], wall.normal[0]) - math.pi / 2)
            room.geoms += holder.geoms
            cursor += 2 * half + rng.uniform(0.1, 1.8)
