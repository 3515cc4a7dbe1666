"""Equipment of workshops, stores, offices and halls, of real-world sizes (metres); backs towards -y."""

from __future__ import annotations

import math

import numpy as np

from clip_depth_training.simulation.furniture import pick
from clip_depth_training.simulation.meshes import revolve, ring, rounded_box
from clip_depth_training.simulation.primitives import Piece, turn

Generator = np.random.Generator


def long_table(rng: Generator) -> Piece:
    """A meeting table, 2.0 to 3.6 m long, 0.73 m high, on two feet."""
    piece, top, width, depth = Piece(), pick(rng, "wood", "paint"), rng.uniform(2.0, 3.6), rng.uniform(0.9, 1.4)
    if rng.uniform() < 0.4:
        piece.mesh((0, 0, 0.7), rounded_box((width, depth, 0.04), 0.3, rows=5, columns=28), top)
    else:
        piece.box((0, 0, 0.7), (width, depth, 0.035), top)
    for x in (-width / 3, width / 3):
        piece.box((x, 0, 0.03), (0.08, depth * 0.5, 0.67), "metal0")
        piece.box((x, 0, 0), (0.1, depth * 0.75, 0.03), "metal0")
    piece.tops.append((0, 0, 0.735, width / 2 - 0.3, depth / 2 - 0.25))
    return piece.name("meeting table", top)


def workbench(rng: Generator) -> Piece:
    """A workbench, 0.85 to 0.95 m high, with drawers, vice and at times a wall of tools."""
    width, depth, high = rng.uniform(1.2, 2.4), rng.uniform(0.6, 0.8), rng.uniform(0.85, 0.95)
    piece, top, frame = Piece(), pick(rng, "wood"), pick(rng, "metal", "paint")
    piece.box((0, 0, high - 0.06), (width, depth, 0.06), top)
    for x in (-width / 2 + 0.06, width / 2 - 0.06):
        for y in (-depth / 2 + 0.06, depth / 2 - 0.06):
            piece.box((x, y, 0), (0.08, 0.08, high - 0.06), frame)
    piece.box((0, 0, 0.2), (width - 0.1, depth - 0.1, 0.03), top)
    for row in range(3):
        piece.box((width / 2 - 0.35, depth / 2 - 0.2, 0.3 + row * 0.17), (0.45, 0.36, 0.15), frame)
    piece.box((-width / 2 + 0.2, depth / 2 - 0.1, high), (0.12, 0.2, 0.14), "metal1")
    piece.tops.append((0, -0.05, high, width / 2 - 0.1, depth / 2 - 0.15))
    piece.name("workbench", top)
    if rng.uniform() < 0.5:
        piece.box((0, -depth / 2 + 0.02, high + 0.15), (width, 0.02, 0.75), pick(rng, "wood", "paint"))
        for _ in range(int(rng.integers(4, 14))):
            x, z = rng.uniform(-0.45, 0.45) * width, high + rng.uniform(0.3, 0.75)
            piece.bar((x, -depth / 2 + 0.05, z - rng.uniform(0.05, 0.14)), (x, -depth / 2 + 0.05, z), 0.012, "metal0")
            piece.box((x, -depth / 2 + 0.05, z), (rng.uniform(0.03, 0.12), 0.03, 0.04), pick(rng, "paint", "metal"))
        piece.name("tool board", "metal0")
    return piece


def rack(rng: Generator) -> Piece:
    """A steel or pallet rack, 1.7 to 2.3 m high, 0.9 to 2.2 m wide, loaded with boxes."""
    width, depth, high, shelves = rng.uniform(0.9, 2.2), rng.uniform(0.4, 0.7), rng.uniform(1.7, 2.25), 4
    piece, frame = Piece(), pick(rng, "metal", "paint")
    for x in (-width / 2, width / 2):
        for y in (-depth / 2 + 0.02, depth / 2 - 0.02):
            piece.box((x, y, 0), (0.04, 0.04, high), frame)
    pitch, load = (high - 0.15) / (shelves - 1), rng.uniform(0.2, 0.95)
    board = pick(rng, "metal", "wood")
    for shelf in range(shelves):
        base = 0.1 + shelf * pitch
        piece.box((0, 0, base), (width, depth, 0.03), board)
        x = -width / 2 + 0.05
        while shelf < shelves - 1 and x < width / 2 - 0.25:
            wide = min(rng.uniform(0.18, 0.5), width / 2 - x - 0.04)
            if rng.uniform() < load:
                size = (wide, rng.uniform(0.6, 0.95) * depth, rng.uniform(0.1, pitch - 0.08))
                piece.box((x + wide / 2, 0, base + 0.03), size, "carton" if rng.uniform() < 0.5 else pick(rng, "paint"))
            x += wide + rng.uniform(0.01, 0.1)
    return piece.name("storage rack", frame)


def locker(rng: Generator) -> Piece:
    """Two to five lockers, 0.3 m wide and 1.8 m high, with slots."""
    piece, shell, count = Piece(), pick(rng, "paint", "metal"), int(rng.integers(2, 6))
    piece.box((0, 0, 0.08), (count * 0.3, 0.48, 1.74), shell)
    piece.box((0, 0, 0), (count * 0.3 - 0.04, 0.44, 0.08), "black")
    for index in range(count):
        x = (index - (count - 1) / 2) * 0.3
        piece.box((x, 0.24, 0.1), (0.28, 0.016, 1.69), shell)
        for row in range(3):
            piece.box((x, 0.25, 1.55 + row * 0.05), (0.15, 0.008, 0.015), "black")
        piece.box((x + 0.1, 0.26, 0.95), (0.02, 0.02, 0.1), "metal0")
    return piece.name("locker", shell)


def pallet(rng: Generator) -> Piece:
    """A Euro pallet (1.2 x 0.8 x 0.144 m), empty or loaded to 1.5 m."""
    piece, board = Piece(), "wood0"
    for y in (-0.35, 0.0, 0.35):
        piece.box((0, y, 0), (1.2, 0.1, 0.022), board)
        for x in (-0.53, 0.0, 0.53):
            piece.box((x, y, 0.022), (0.14, 0.1, 0.078), board)
    for x in np.linspace(-0.55, 0.55, 6):
        piece.box((float(x), 0, 0.1), (0.12, 0.8, 0.044), board)
    piece.name("pallet", board)
    for layer in range(int(rng.integers(0, 4))):
        for x in (-0.4, 0.0, 0.4):
            for y in (-0.2, 0.2):
                if layer == 0 or rng.uniform() < 0.8:
                    material = "carton" if rng.uniform() < 0.8 else pick(rng, "paint")
                    piece.box((x, y, 0.144 + layer * 0.36), (0.38, 0.38, 0.35), material)
    if len(piece.geoms) > 20:
        piece.name("stack of boxes", "carton")
    return piece


def trolley(rng: Generator) -> Piece:
    """A platform or two-deck trolley, 0.9 m long, handle at 0.9 to 1.0 m."""
    piece, deck = Piece(), pick(rng, "paint", "wood", "metal")
    for x in (-0.35, 0.35):
        for y in (-0.2, 0.2):
            piece.mesh((x, y, 0), ring(0.06, 0.05, 12, 6), "black", turn("x", math.pi / 2))
    piece.box((0, 0, 0.13), (0.9, 0.55, 0.04), deck)
    for y in (-0.24, 0.24):
        piece.bar((-0.43, y, 0.17), (-0.43, y, 0.95), 0.015, "metal0")
    piece.bar((-0.43, -0.24, 0.95), (-0.43, 0.24, 0.95), 0.015, "metal0")
    level = 0.17
    if rng.uniform() < 0.5:
        piece.box((0, 0, 0.68), (0.9, 0.55, 0.03), deck)
        for y in (-0.24, 0.24):
            piece.bar((0.43, y, 0.17), (0.43, y, 0.7), 0.015, "metal0")
        level = 0.71
    piece.tops.append((0.02, 0, level, 0.36, 0.2))
    return piece.name("trolley", deck)


def ladder(rng: Generator) -> Piece:
    """A step ladder, 1.2 to 2.1 m, standing open."""
    piece, high, rail = Piece(), rng.uniform(1.2, 2.1), pick(rng, "metal", "wood", "paint")
    spread = high * 0.22
    for x in (-0.22, 0.22):
        piece.bar((x, spread, 0), (x * 0.75, 0, high), 0.02, rail)
        piece.bar((x, -spread, 0), (x * 0.75, 0, high), 0.016, rail)
    for step in range(1, int(high / 0.26)):
        share = step * 0.26 / high
        piece.box((0, spread * (1 - share), step * 0.26), (0.44 - 0.11 * share, 0.08, 0.025), rail)
    return piece.name("ladder", rail)


def bicycle(rng: Generator) -> Piece:
    """A bicycle, 1.7 m long with wheels of 0.66 m, standing along the wall."""
    piece, frame = Piece(), pick(rng, "paint")
    wheel = ring(0.33, 0.04, 24, 6)
    for x in (-0.52, 0.52):
        piece.mesh((x, 0, 0), wheel, "black", turn("x", math.pi / 2))
        for spoke in range(3):
            dx, dz = 0.3 * math.cos(spoke * math.pi / 3), 0.3 * math.sin(spoke * math.pi / 3)
            piece.bar((x - dx, 0, 0.33 - dz), (x + dx, 0, 0.33 + dz), 0.003, "metal0")
    joints = ((-0.52, 0.33), (-0.08, 0.3), (-0.2, 0.85), (0.38, 0.8), (0.52, 0.33))
    for a, b in ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (3, 4)):
        piece.bar((joints[a][0], 0, joints[a][1]), (joints[b][0], 0, joints[b][1]), 0.016, frame)
    piece.bar((0.36, 0, 0.8), (0.34, 0, 0.98), 0.014, "metal0")
    piece.bar((0.34, -0.25, 1.0), (0.34, 0.25, 1.0), 0.014, "black")
    piece.mesh((-0.24, 0, 0.92), rounded_box((0.26, 0.15, 0.07), 0.6), "black")
    return piece.name("bicycle", frame)


def tyres(rng: Generator) -> Piece:
    """One to four car tyres of 0.6 to 0.68 m, stacked."""
    piece, radius = Piece(), rng.uniform(0.3, 0.34)
    tyre = ring(radius, 0.2)
    for level in range(int(rng.integers(1, 5))):
        piece.mesh((rng.normal(0, 0.01), rng.normal(0, 0.01), level * 0.19), tyre, "black")
    return piece.name("stack of tyres", "black")


def barrel(rng: Generator) -> Piece:
    """A steel drum (0.58 m wide, 0.88 m high) or a cask."""
    piece = Piece()
    shell = pick(rng, "paint", "wood")
    bulge = 0.04 if shell.startswith("wood") else 0.0
    profile = [
        (0.27, 0),
        (0.28 + bulge / 2, 0.28),
        (0.29 + bulge, 0.3),
        (0.28 + bulge, 0.58),
        (0.29, 0.6),
        (0.27, 0.88),
    ]
    piece.mesh((0, 0, 0), revolve(profile, 18), shell)
    return piece.name("barrel", shell)


def gas_bottle(rng: Generator) -> Piece:
    """A gas cylinder, 0.23 m wide and 1.3 to 1.6 m high, or a fire extinguisher's size."""
    piece, shell, large = Piece(), pick(rng, "paint"), rng.uniform() < 0.6
    high, r = (rng.uniform(1.2, 1.5), 0.115) if large else (0.45, 0.075)
    profile = [(r, 0), (r, high * 0.88), (r * 0.75, high * 0.96), (r * 0.25, high), (r * 0.25, high * 1.06)]
    piece.mesh((0, 0, 0), revolve(profile, 14), shell)
    return piece.name("gas bottle" if large else "fire extinguisher", shell)


def cone(rng: Generator) -> Piece:
    """A traffic cone, 0.5 to 0.75 m."""
    piece, high = Piece(), rng.uniform(0.5, 0.75)
    piece.box((0, 0, 0), (0.36, 0.36, 0.03), "orange")
    piece.mesh((0, 0, 0.03), revolve([(0.13, 0), (0.085, high * 0.4)]), "orange")
    piece.mesh((0, 0, 0.03 + high * 0.4), revolve([(0.085, 0), (0.06, high * 0.25)]), "white")
    piece.mesh((0, 0, 0.03 + high * 0.65), revolve([(0.06, 0), (0.025, high * 0.35)]), "orange")
    return piece.name("traffic cone", "orange")


def bollard(rng: Generator) -> Piece:
    """A post of a barrier, 0.9 to 1.0 m."""
    piece, shell, high = Piece(), pick(rng, "metal"), rng.uniform(0.9, 1.0)
    profile = [(0.16, 0), (0.15, 0.02), (0.03, 0.05), (0.025, high * 0.9), (0.04, high * 0.92), (0.035, high)]
    piece.mesh((0, 0, 0), revolve(profile), shell)
    return piece.name("bollard", shell)


def bench(rng: Generator) -> Piece:
    """A bench of slats, 1.2 to 1.8 m long, seat at 0.45 m, with a back at times."""
    piece, slat, width = Piece(), pick(rng, "wood", "metal", "paint"), rng.uniform(1.2, 1.8)
    for y in (-0.14, -0.02, 0.1):
        piece.box((0, y, 0.42), (width, 0.1, 0.03), slat)
    for x in (-width / 2 + 0.15, width / 2 - 0.15):
        piece.box((x, 0, 0), (0.06, 0.36, 0.42), "metal0")
    if rng.uniform() < 0.5:
        for z in (0.6, 0.75):
            piece.box((0, -0.2, z), (width, 0.03, 0.1), slat)
        for x in (-width / 2 + 0.15, width / 2 - 0.15):
            piece.box((x, -0.19, 0.4), (0.05, 0.03, 0.45), "metal0")
    return piece.name("bench", slat)
