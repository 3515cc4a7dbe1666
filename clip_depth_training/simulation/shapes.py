"""What makes rooms differ from a box: slanted walls, sloped ceilings, pillars, beams, steps, arches (metres)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from clip_depth_training.simulation.furniture import pick
from clip_depth_training.simulation.meshes import prism
from clip_depth_training.simulation.primitives import Geom, Piece, turn
from clip_depth_training.simulation.scene import Footprint, Room, Slope, Wall

Point = tuple[float, float]


def slant(room: Room, rng: np.random.Generator) -> None:
    """Slants one wall of the room (a trapezoid), or cuts off one to three of its corners at 30 to 60 degrees."""
    half_x, half_y = room.size[0] / 2, room.size[1] / 2
    if rng.uniform() < 0.5:
        run, long, side = rng.uniform(0.1, 0.35) * room.size[0], room.size[1], float(rng.choice([-1, 1]))
        normal = np.array([long, run * float(rng.choice([-1, 1]))]) / math.hypot(long, run)
        normal[0] *= side
        # The line passes through the corner that keeps its place.
        corner = (side * half_x, -half_y if normal[1] > 0 else half_y)
        room.cuts.append((float(normal[0]), float(normal[1]), float(normal @ corner)))
        return
    reach = 0.45 * min(room.size[:2])
    for corner_x, corner_y in rng.permutation([(-1, -1), (-1, 1), (1, -1), (1, 1)])[: int(rng.integers(1, 4))]:
        along_x = rng.uniform(0.5, 1.0) * reach
        along_y = min(along_x * rng.uniform(0.6, 1.7), reach)
        normal = np.array([along_y * corner_x, along_x * corner_y]) / math.hypot(along_x, along_y)
        through = (corner_x * half_x, corner_y * (half_y - along_y))
        room.cuts.append((float(normal[0]), float(normal[1]), float(normal @ through)))


def outline(room: Room) -> list[Point]:
    """Returns the corners of the room's floor, counter-clockwise: its rectangle, clipped by its slanted walls."""
    half_x, half_y = room.size[0] / 2, room.size[1] / 2
    corners: list[Point] = [(-half_x, -half_y), (half_x, -half_y), (half_x, half_y), (-half_x, half_y)]
    for nx, ny, limit in room.cuts:
        kept: list[Point] = []
        for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]]):
            out_a, out_b = nx * ax + ny * ay - limit, nx * bx + ny * by - limit
            if out_a <= 1e-9:
                kept.append((ax, ay))
            if (out_a < -1e-9 and out_b > 1e-9) or (out_a > 1e-9 and out_b < -1e-9):
                share = out_a / (out_a - out_b)
                kept.append((ax + share * (bx - ax), ay + share * (by - ay)))
        corners = kept
    return corners


def walls_of(corners: Sequence[Point]) -> list[Wall]:
    """Returns the walls between corners that run counter-clockwise."""
    walls = []
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]]):
        length = math.hypot(bx - ax, by - ay)
        if length > 0.05:
            along = ((bx - ax) / length, (by - ay) / length)
            walls.append(Wall((ax + bx) / 2, (ay + by) / 2, along, (-along[1], along[0]), length))
    return walls


def add_attic(room: Room, wall: Wall, rng: np.random.Generator) -> None:
    """Slopes the ceiling down to a wall: knee at 0.9 to 1.7 m, 35 to 50 degrees steep."""
    knee, angle = float(rng.uniform(0.9, 1.7)), math.radians(rng.uniform(35, 50))
    rise = math.tan(angle)
    nx, ny = wall.normal
    across = room.size[0] if abs(nx) > 0.5 else room.size[1]
    run = min((room.size[2] - knee) / rise, across)
    room.slopes.append(Slope((-nx, -ny), -nx * wall.x - ny * wall.y, knee, rise))
    length, thick = wall.length + 0.2, 0.1
    piece = Piece()
    middle = (0.0, run / 2 - thick / 2 * math.sin(angle), knee + run * rise / 2 + thick / 2 * math.cos(angle))
    half = (length / 2, run / math.cos(angle) / 2 + 0.05, thick / 2)
    piece.geoms.append(Geom("box", half, middle, "ceiling", turn("x", angle + math.pi)))
    holder = Piece()
    holder.add(piece, wall.x, wall.y, 0.0, math.atan2(ny, nx) - math.pi / 2)
    room.geoms += holder.geoms


def add_pillars(room: Room, rng: np.random.Generator) -> None:
    """Stands one to four pillars of 0.25 to 0.6 m in the room, in a row."""
    count, radius, high = int(rng.integers(1, 5)), rng.uniform(0.12, 0.3), room.size[2] / 2
    x, y = rng.uniform(-0.25, 0.25, 2) * room.size[:2]
    along_x = room.size[0] > room.size[1]
    material, is_round = ("wall0" if rng.uniform() < 0.5 else "white"), rng.uniform() < 0.5
    for index in range(count):
        shift = (index - (count - 1) / 2) * max(room.size[:2]) / (count + 1)
        at = (float(x + shift), float(y)) if along_x else (float(x), float(y + shift))
        if not room.holds(*at, 0.5):
            continue
        if is_round:
            room.geoms.append(Geom("cylinder", (radius, high), (*at, high), "white"))
        else:
            for heading in range(4):
                face = Piece()
                face.panel((0, radius - 0.05, high), 2 * radius, 2 * high, 0.1, material)
                holder = Piece()
                holder.add(face, *at, 0.0, heading * math.pi / 2)
                room.geoms += holder.geoms
        room.footprints.append(Footprint(*at, radius, radius, room.size[2]))


def add_beams(room: Room, rng: np.random.Generator) -> None:
    """Lays beams under the ceiling, 0.1 to 0.22 m wide and at most 0.25 m deep, where 2.3 m stay clear."""
    deep = min(float(rng.uniform(0.1, 0.25)), room.size[2] - 2.3)
    if deep < 0.08:
        return
    wide, material = rng.uniform(0.1, 0.22), "white" if rng.uniform() < 0.4 else pick(rng, "wood")
    long = 0 if room.size[0] > room.size[1] else 1
    for at in np.arange(-room.size[long] / 2 + 0.4, room.size[long] / 2 - 0.2, rng.uniform(0.8, 1.8)):
        half = [room.size[0] / 2 + 0.02, room.size[1] / 2 + 0.02, deep / 2]
        half[long] = wide / 2
        position = [0.0, 0.0, room.size[2] - deep / 2 + 0.01]
        position[long] = float(at)
        room.geoms.append(Geom("box", (half[0], half[1], half[2]), (position[0], position[1], position[2]), material))


def arch(width: float, top: float, material: str) -> Piece:
    """Fills the corners over an opening so that a round arch is left whose crown is at ``top``."""
    piece, radius = Piece(), width / 2
    angles = np.linspace(0, math.pi / 2, 9)
    for side in (-1, 1):
        curve = [(side * radius * math.cos(a), top - radius + radius * math.sin(a)) for a in angles]
        mesh = prism([(side * radius, top), *curve], 0.11)
        middle = (side * radius / 2, -0.05, top - radius / 2)
        size = (radius / 2, 0.055, radius / 2)
        piece.geoms.append(Geom("mesh", size, middle, material, mesh=mesh))
    return piece.name("arched doorway", material)


def stairs(rng: np.random.Generator) -> Piece:
    """A flight of four to nine steps of 0.16 to 0.18 m with a landing, along a wall."""
    piece, count, rise, going = Piece(), int(rng.integers(4, 10)), rng.uniform(0.16, 0.18), rng.uniform(0.25, 0.29)
    width, material = rng.uniform(0.8, 1.1), pick(rng, "wood", "paint")
    length = count * going + 0.8
    flip = float(rng.choice([-1, 1]))
    for step in range(count):
        x = flip * (-length / 2 + (step + 0.5) * going)
        piece.box((x, 0, 0), (going, width, (step + 1) * rise - 0.03), "white")
        piece.box((x, 0, (step + 1) * rise - 0.03), (going + 0.03, width + 0.02, 0.03), material)
    piece.box((flip * (length / 2 - 0.4), 0, 0), (0.8, width, count * rise), material)
    if rng.uniform() < 0.7:
        y = width / 2 - 0.03
        start, end = (-length / 2, rise), (length / 2 - 0.8, count * rise)
        piece.bar((flip * start[0], y, start[1] + 0.85), (flip * end[0], y, end[1] + 0.85), 0.022, material)
        for step in range(count):
            x = flip * (-length / 2 + (step + 0.5) * going)
            piece.bar((x, y, (step + 1) * rise), (x, y, (step + 1) * rise + 0.83), 0.012, "metal0")
    return piece.name("staircase", material)


def platform(rng: np.random.Generator) -> Piece:
    """A raised platform, 0.15 to 0.4 m high, with a step where it is higher than one."""
    piece, high, material = Piece(), rng.uniform(0.15, 0.4), pick(rng, "wood", "cloth", "paint")
    width, depth = rng.uniform(1.4, 3.0), rng.uniform(1.0, 1.8)
    piece.box((0, 0, 0), (width, depth, high), material)
    if high > 0.2:
        piece.box((0, depth / 2 + 0.15, 0), (rng.uniform(0.6, width), 0.3, high / 2), material)
    piece.tops.append((0, 0, high, width / 2 - 0.2, depth / 2 - 0.2))
    return piece.name("raised platform", material)
