"""Furniture and clutter of real-world sizes, built from boxes, cylinders and ellipsoids.

Sizes are metres. A piece stands at its own origin on the floor, its back towards -y and its front towards +y.
Metric scale can be learned from a picture only when such sizes are right: tables are 0.72 to 0.76 m high,
seats 0.43 to 0.48 m, worktops 0.9 m, doors 2.0 to 2.1 m.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from clip_depth_training.simulation.primitives import Piece

Generator = np.random.Generator
Maker = Callable[[Generator], Piece]


def pick(rng: Generator, *names: str) -> str:
    """Returns one material of the given families ("wood" has wood0, wood1, wood2)."""
    counts = {"wood": 3, "cloth": 4, "paint": 8, "metal": 2, "leaf": 2, "books": 2, "poster": 6, "screen": 2}
    family = str(rng.choice(names))
    return f"{family}{int(rng.integers(counts[family]))}"


def table(rng: Generator, noun: str = "table") -> Piece:
    """A dining table or desk, 0.72 to 0.76 m high."""
    width, depth, height = rng.uniform(1.0, 2.2), rng.uniform(0.6, 1.0), rng.uniform(0.72, 0.76)
    piece, top, leg = Piece(), pick(rng, "wood", "paint"), pick(rng, "wood", "metal", "paint")
    piece.box((0, 0, height - 0.03), (width, depth, 0.03), top)
    thick = rng.uniform(0.03, 0.08)
    for x in (-width / 2 + 0.08, width / 2 - 0.08):
        for y in (-depth / 2 + 0.07, depth / 2 - 0.07):
            piece.box((x, y, 0), (thick, thick, height - 0.03), leg)
    if rng.uniform() < 0.3:
        piece.box((width / 2 - 0.25, 0, 0.1), (0.4, depth - 0.12, height - 0.14), top)
    piece.tops.append((0, 0, height, width / 2 - 0.05, depth / 2 - 0.05))
    return piece.name(noun, top)


def desk(rng: Generator) -> Piece:
    """A table that is named a desk."""
    return table(rng, "desk")


def round_table(rng: Generator) -> Piece:
    """A round table on one column: dining (0.73 m) or coffee (0.45 m) height."""
    radius, height = rng.uniform(0.3, 0.65), float(rng.choice([0.45, 0.73]))
    piece, top = Piece(), pick(rng, "wood", "paint")
    piece.cylinder((0, 0, height - 0.03), radius, 0.03, top)
    piece.cylinder((0, 0, 0), 0.04, height - 0.03, pick(rng, "metal"))
    piece.cylinder((0, 0, 0), radius * 0.6, 0.02, pick(rng, "metal"))
    piece.tops.append((0, 0, height, radius * 0.6, radius * 0.6))
    return piece.name("round table", top)


def coffee_table(rng: Generator) -> Piece:
    """A low table, 0.35 to 0.5 m."""
    width, depth, height = rng.uniform(0.6, 1.2), rng.uniform(0.45, 0.7), rng.uniform(0.35, 0.5)
    piece, material = Piece(), pick(rng, "wood", "paint")
    piece.box((0, 0, height - 0.04), (width, depth, 0.04), material)
    piece.box((0, 0, 0.1), (width - 0.1, depth - 0.1, 0.02), material)
    for x in (-width / 2 + 0.04, width / 2 - 0.04):
        for y in (-depth / 2 + 0.04, depth / 2 - 0.04):
            piece.box((x, y, 0), (0.05, 0.05, height - 0.04), material)
    piece.tops.append((0, 0, height, width / 2 - 0.05, depth / 2 - 0.05))
    return piece.name("coffee table", material)


def chair(rng: Generator) -> Piece:
    """A four-legged chair: seat 0.43 to 0.47 m, back to 0.8 to 1.0 m."""
    seat, width, back = rng.uniform(0.43, 0.47), rng.uniform(0.4, 0.5), rng.uniform(0.8, 1.0)
    piece, frame = Piece(), pick(rng, "wood", "metal", "paint")
    cover = frame if rng.uniform() < 0.4 else pick(rng, "cloth", "paint")
    piece.box((0, 0, seat - 0.04), (width, width, 0.04), cover)
    inset = width / 2 - 0.03
    for x in (-inset, inset):
        piece.bar((x, inset, 0), (x, inset, seat - 0.04), 0.018, frame)
        piece.bar((x, -inset - 0.04, 0), (x, -inset, back), 0.018, frame)
    piece.box((0, -inset, back - rng.uniform(0.2, 0.38)), (width, 0.025, 0.2), cover)
    return piece.name("chair", cover)


def office_chair(rng: Generator) -> Piece:
    """A swivel chair: five feet of 0.3 m, seat 0.42 to 0.52 m, back to 0.9 to 1.15 m."""
    seat, back = rng.uniform(0.42, 0.52), rng.uniform(0.9, 1.15)
    piece, cover, frame = Piece(), pick(rng, "cloth", "paint"), pick(rng, "metal", "paint")
    for foot in range(5):
        angle = foot * 2 * math.pi / 5
        tip = (0.3 * math.cos(angle), 0.3 * math.sin(angle), 0.07)
        piece.bar((0, 0, 0.12), tip, 0.02, frame)
        piece.ellipsoid((tip[0], tip[1], 0.03), (0.03, 0.03, 0.03), "black")
    piece.cylinder((0, 0, 0.1), 0.025, seat - 0.15, frame)
    piece.box((0, 0, seat - 0.07), (0.48, 0.46, 0.07), cover)
    piece.panel((0, -0.23, (seat + 0.12 + back) / 2), 0.44, back - seat - 0.12, 0.05, cover, lean=0.12)
    piece.bar((0, -0.2, seat - 0.04), (0, -0.26, back - 0.3), 0.02, frame)
    if rng.uniform() < 0.6:
        for x in (-0.27, 0.27):
            piece.box((x, 0.02, seat + 0.18), (0.06, 0.25, 0.03), "black")
            piece.box((x, 0.0, seat - 0.03), (0.03, 0.06, 0.21), frame)
    return piece.name("office chair", cover)


def stool(rng: Generator) -> Piece:
    """A round stool: low (0.45 m) or bar height (0.75 m)."""
    height, piece, frame = float(rng.choice([0.45, 0.65, 0.75])), Piece(), pick(rng, "wood", "metal")
    piece.cylinder((0, 0, height - 0.04), 0.17, 0.04, pick(rng, "wood", "cloth", "paint"))
    for leg in range(4):
        angle = leg * math.pi / 2 + 0.7
        piece.bar(
            (0.2 * math.cos(angle), 0.2 * math.sin(angle), 0),
            (0.1 * math.cos(angle), 0.1 * math.sin(angle), height - 0.04),
            0.015,
            frame,
        )
    return piece.name("stool", frame)


def sofa(rng: Generator) -> Piece:
    """An armchair or sofa for one to three: seat 0.40 to 0.46 m, back 0.75 to 0.9 m."""
    seats, unit = int(rng.integers(1, 4)), rng.uniform(0.55, 0.68)
    width, depth, seat, back = seats * unit, rng.uniform(0.8, 0.95), rng.uniform(0.4, 0.46), rng.uniform(0.75, 0.9)
    piece, cover = Piece(), pick(rng, "cloth")
    arm = rng.uniform(0.12, 0.22)
    piece.box((0, 0, 0.08), (width, depth, seat - 0.22), cover)
    for index in range(seats):
        x = (index - (seats - 1) / 2) * unit
        piece.box((x, 0.08, seat - 0.14), (unit - 0.02, depth - 0.18, 0.14), cover)
        piece.panel((x, -depth / 2 + 0.22, seat + (back - seat) / 2), unit - 0.03, back - seat, 0.16, cover, lean=0.15)
    piece.box((0, -depth / 2 + 0.08, 0.08), (width, 0.16, back - 0.12), cover)
    for side in (-1, 1):
        piece.box((side * (width + arm) / 2, 0, 0.06), (arm, depth, rng.uniform(0.5, 0.56)), cover)
    for _ in range(int(rng.integers(0, 3))):
        x = rng.uniform(-width / 2 + 0.2, max(width / 2 - 0.2, -width / 2 + 0.21))
        piece.ellipsoid((x, -0.05, seat + 0.18), (0.22, 0.07, 0.2), pick(rng, "cloth", "paint"), tilt=0.3)
    return piece.name("sofa" if seats > 1 else "armchair", cover)


def bed(rng: Generator) -> Piece:
    """A bed: 2 m long, 0.9 to 1.8 m wide, mattress top at 0.45 to 0.6 m."""
    width, height = float(rng.choice([0.9, 1.2, 1.4, 1.6, 1.8])), rng.uniform(0.45, 0.6)
    piece, frame, cover = Piece(), pick(rng, "wood", "paint"), pick(rng, "cloth", "paint")
    piece.box((0, 0, 0.1), (width + 0.06, 2.06, height - 0.35), frame)
    piece.box((0, 0, height - 0.25), (width, 2.0, 0.2), "white")
    piece.box((0, 0.25, height - 0.18), (width + 0.04, 1.5, 0.19), cover)
    piece.box((0, -1.04, 0), (width + 0.08, 0.05, rng.uniform(0.8, 1.2)), frame)
    for x in (-width / 4, width / 4) if width > 1 else (0.0,):
        piece.ellipsoid((x, -0.75, height), (0.32, 0.2, 0.09), pick(rng, "cloth") if rng.uniform() < 0.4 else "white")
    return piece.name("bed", cover)


def shelf(rng: Generator) -> Piece:
    """A bookcase 0.8 to 2.2 m high and 0.28 to 0.4 m deep, partly filled."""
    width, depth, rows = rng.uniform(0.6, 1.2), rng.uniform(0.28, 0.4), int(rng.integers(2, 7))
    pitch = rng.uniform(0.32, 0.38)
    height = rows * pitch + 0.08
    piece, board = Piece(), pick(rng, "wood", "paint")
    for x in (-width / 2, width / 2):
        piece.box((x, 0, 0), (0.02, depth, height), board)
    if rng.uniform() < 0.8:
        piece.box((0, -depth / 2 + 0.01, 0), (width, 0.01, height), board)
    for row in range(rows + 1):
        piece.box((0, 0, row * pitch + 0.04), (width, depth, 0.02), board)
    for row in range(rows):
        base, kind = row * pitch + 0.06, rng.uniform()
        if kind < 0.55:
            run, tall = rng.uniform(0.3, 0.95) * (width - 0.06), rng.uniform(0.2, pitch - 0.05)
            x = rng.uniform(-1, 1) * (width - 0.06 - run) / 2
            piece.panel((x, -0.03, base + tall / 2), run, tall, depth - 0.12, pick(rng, "books"))
        elif kind < 0.85:
            piece.box(
                (rng.uniform(-0.2, 0.2) * width, 0, base),
                (rng.uniform(0.15, 0.4), depth - 0.06, rng.uniform(0.1, pitch - 0.06)),
                pick(rng, "paint", "wood"),
            )
    piece.tops.append((0, 0, height - 0.02, width / 2 - 0.05, depth / 2 - 0.03))
    return piece.name("bookcase", board)


def cabinet(rng: Generator) -> Piece:
    """A chest of drawers, sideboard or wardrobe with visible fronts and handles."""
    tall = rng.uniform() < 0.4
    width, depth = rng.uniform(0.6, 1.8), rng.uniform(0.55, 0.62) if tall else rng.uniform(0.4, 0.5)
    height = rng.uniform(1.8, 2.2) if tall else rng.uniform(0.55, 1.1)
    piece, body, front = Piece(), pick(rng, "wood", "paint"), pick(rng, "wood", "paint")
    front = body if rng.uniform() < 0.6 else front
    piece.box((0, 0, 0), (width, depth, height), body)
    columns = max(1, round(width / 0.5))
    rows = 1 if tall else int(rng.integers(1, 5))
    cell_x, cell_z = width / columns, (height - 0.08) / rows
    for column in range(columns):
        for row in range(rows):
            x, z = (column + 0.5) * cell_x - width / 2, row * cell_z + 0.06
            piece.box((x, depth / 2, z + 0.01), (cell_x - 0.015, 0.03, cell_z - 0.02), front)
            piece.box(
                (x + (0.4 * cell_x if tall else 0), depth / 2 + 0.025, z + cell_z * 0.5),
                (0.02 if tall else 0.12, 0.03, 0.15 if tall else 0.015),
                "metal0",
            )
    if not tall:
        piece.tops.append((0, 0, height, width / 2 - 0.04, depth / 2 - 0.04))
    return piece.name("wardrobe" if tall else "cabinet", front)


def kitchen(rng: Generator) -> Piece:
    """A kitchen run: worktop at 0.9 m, wall units from 1.4 to 2.1 m, often a fridge of 1.5 to 2.0 m."""
    width, piece = rng.uniform(1.5, 3.0), Piece()
    front, top = pick(rng, "wood", "paint"), pick(rng, "wood", "paint", "metal")
    units = max(2, round(width / 0.6))
    piece.box((0, -0.02, 0.1), (width, 0.56, 0.76), "white")
    piece.box((0, 0, 0.87), (width, 0.62, 0.035), top)
    if rng.uniform() < 0.8:
        piece.box((0, -0.14, 1.4), (width, 0.34, 0.7), "white")
    upper = len(piece.geoms) == 3
    for unit in range(units):
        x, size = (unit + 0.5) * width / units - width / 2, width / units - 0.012
        piece.box((x, 0.27, 0.12), (size, 0.02, 0.73), front)
        piece.box((x, 0.29, 0.78), (0.14, 0.03, 0.015), "metal0")
        if upper:
            piece.box((x, 0.04, 1.41), (size, 0.02, 0.68), front)
    piece.cylinder((width * 0.2, -0.2, 0.9), 0.015, 0.25, "metal1")
    piece.name("kitchen unit", front)
    if rng.uniform() < 0.6:
        shell = pick(rng, "paint", "metal")
        piece.box((width / 2 + 0.32, 0, 0.02), (0.6, 0.64, rng.uniform(1.5, 2.0)), shell)
        piece.box((width / 2 + 0.1, 0.34, 0.9), (0.02, 0.03, 0.35), "metal0")
        piece.name("fridge", shell)
    piece.tops.append((0, 0, 0.905, width / 2 - 0.1, 0.24))
    return piece


def partition(rng: Generator) -> Piece:
    """An office partition, 1.2 to 1.6 m high, with a desk along it."""
    width, height = rng.uniform(1.2, 2.0), rng.uniform(1.2, 1.6)
    piece, cover, frame = Piece(), pick(rng, "cloth"), pick(rng, "metal", "paint")
    piece.box((0, -0.37, 0.08), (width, 0.06, height - 0.1), cover)
    piece.box((0, -0.37, height - 0.03), (width, 0.07, 0.03), frame)
    for x in (-width / 2, width / 2):
        piece.box((x, 0, 0), (0.05, 0.8, height if rng.uniform() < 0.7 else 0.72), cover)
    piece.box((0, 0.02, 0.7), (width - 0.04, 0.7, 0.03), pick(rng, "wood", "paint"))
    piece.tops.append((0, 0.05, 0.73, width / 2 - 0.1, 0.28))
    return piece.name("cubicle", cover)


def floor_lamp(rng: Generator) -> Piece:
    """A standing lamp, 1.4 to 1.8 m."""
    height, piece = rng.uniform(1.4, 1.8), Piece()
    piece.cylinder((0, 0, 0), 0.14, 0.03, pick(rng, "metal"))
    piece.cylinder((0, 0, 0), 0.012, height - 0.2, pick(rng, "metal"))
    piece.cylinder((0, 0, height - 0.28), rng.uniform(0.12, 0.22), 0.28, "glow")
    return piece.name("floor lamp", "glow")


def plant(rng: Generator) -> Piece:
    """A potted plant, 0.4 to 1.8 m."""
    height, piece = rng.uniform(0.4, 1.8), Piece()
    pot = min(0.2, 0.1 + height * 0.08)
    piece.cylinder((0, 0, 0), pot, pot * 1.6, pick(rng, "paint", "wood"))
    for _ in range(int(rng.integers(12, 30))):
        angle, rise = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 1.0)
        out, length = rng.uniform(0.05, 0.22) * (0.5 + height / 2), rng.uniform(0.12, 0.3) * (0.5 + height / 3)
        centre = (out * math.cos(angle), out * math.sin(angle), max(pot * 1.6, height * rise))
        piece.ellipsoid(
            centre, (length * 0.25, length, 0.008), pick(rng, "leaf"), rng.uniform(-0.9, 0.9), angle - math.pi / 2
        )
    piece.cylinder((0, 0, 0), 0.015, height * 0.8, "wood0")
    return piece.name("plant", "leaf0")


def bin_(rng: Generator) -> Piece:
    """A waste bin, 0.3 to 0.7 m."""
    height, piece = rng.uniform(0.3, 0.7), Piece()
    if rng.uniform() < 0.5:
        piece.cylinder((0, 0, 0), height * 0.38, height, pick(rng, "paint", "metal"))
    else:
        piece.box((0, 0, 0), (height * 0.6, height * 0.7, height), pick(rng, "paint"))
    return piece.name("bin", piece.geoms[0].material)


def cartons(rng: Generator) -> Piece:
    """One to three stacked moving boxes of 0.3 to 0.6 m."""
    piece, z = Piece(), 0.0
    for _ in range(int(rng.integers(1, 4))):
        width, depth, height = rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.45), rng.uniform(0.2, 0.42)
        piece.box(
            (rng.uniform(-0.04, 0.04), rng.uniform(-0.04, 0.04), z),
            (width, depth, height),
            "carton" if rng.uniform() < 0.75 else pick(rng, "paint"),
        )
        z += height
    return piece.name("box", "carton")


def person(rng: Generator) -> Piece:
    """A standing figure, 1.55 to 1.9 m."""
    height, piece = rng.uniform(1.55, 1.9), Piece()
    shirt, trousers = pick(rng, "cloth", "paint"), pick(rng, "cloth", "paint")
    for x in (-0.09, 0.09):
        piece.bar((x, 0, 0.04), (x, 0, height * 0.48), 0.075, trousers)
        piece.ellipsoid((x, 0.05, 0.04), (0.05, 0.13, 0.045), "black")
        piece.bar((x * 2.4, 0.02, height * 0.45), (x * 2.2, 0, height * 0.8), 0.045, shirt)
    piece.ellipsoid((0, 0, height * 0.65), (0.2, 0.12, height * 0.19), shirt)
    piece.ellipsoid((0, 0, height - 0.12), (0.08, 0.1, 0.12), "skin")
    piece.ellipsoid((0, -0.02, height - 0.08), (0.085, 0.1, 0.09), "black")
    return piece.name("person", shirt)
