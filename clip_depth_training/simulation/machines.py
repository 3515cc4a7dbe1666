"""Machines and counters of halls and offices, of real-world sizes (metres); backs towards -y."""

from __future__ import annotations

import numpy as np

from clip_depth_training.simulation.furniture import pick
from clip_depth_training.simulation.primitives import Piece

Generator = np.random.Generator


def drinks_machine(rng: Generator) -> Piece:
    """A vending machine, 0.75 to 1.0 m wide and 1.83 m high, with rows of bottles or a poster."""
    piece, shell, width = Piece(), pick(rng, "paint"), rng.uniform(0.75, 1.0)
    piece.box((0, 0, 0), (width, 0.75, 1.83), shell)
    if rng.uniform() < 0.5:
        piece.panel((-0.08, 0.38, 1.05), width - 0.28, 1.2, 0.012, "black")
        columns = int((width - 0.35) / 0.09)
        for row in range(4):
            ink = pick(rng, "paint")
            for column in range(columns):
                x = -0.08 + (column - (columns - 1) / 2) * 0.09
                piece.cylinder((x, 0.39, 0.55 + row * 0.28), 0.033, 0.2, ink)
    else:
        piece.panel((-0.06, 0.38, 1.05), width - 0.24, 1.3, 0.012, pick(rng, "poster"))
    piece.box((width / 2 - 0.11, 0.38, 0.95), (0.12, 0.015, 0.35), "metal0")
    piece.box((-0.05, 0.38, 0.15), (width - 0.35, 0.015, 0.18), "black")
    return piece.name("drinks machine", shell)


def server_rack(rng: Generator) -> Piece:
    """A 19-inch rack: 0.6 x 0.8 to 1.0 x 1.2 to 2.0 m, with units of 44 mm and lamps."""
    piece, shell, high, deep = Piece(), "black", float(rng.choice([1.2, 2.0])), rng.uniform(0.8, 1.0)
    if rng.uniform() < 0.3:
        shell = pick(rng, "metal", "paint")
    piece.box((0, -0.02, 0), (0.6, deep - 0.04, high), shell)
    z = 0.08
    while z < high - 0.2:
        units = int(rng.integers(1, 5))
        if rng.uniform() < 0.75:
            face = pick(rng, "metal", "paint") if rng.uniform() < 0.5 else "black"
            piece.box((0, deep / 2 - 0.03, z), (0.48, 0.03, units * 0.0445 - 0.006), face)
            if rng.uniform() < 0.6:
                for x in rng.uniform(-0.2, 0.2, 2):
                    piece.box((float(x), deep / 2 - 0.01, z + 0.012), (0.02, 0.008, 0.01), "glow")
        z += units * 0.0445
    for x in (-0.27, 0.27):
        piece.box((x, deep / 2 - 0.02, 0), (0.05, 0.04, high), shell)
    return piece.name("server rack", shell)


def printer(rng: Generator) -> Piece:
    """An office copier, 0.6 m wide and 1.0 to 1.2 m high."""
    piece, high = Piece(), rng.uniform(1.0, 1.2)
    piece.box((0, 0, 0), (0.6, 0.62, high * 0.75), "white")
    piece.box((0, 0.02, high * 0.75), (0.5, 0.45, 0.08), "black")
    piece.box((0, 0, high * 0.75 + 0.08), (0.6, 0.6, 0.12), "white")
    piece.panel((0.2, 0.28, high), 0.2, 0.12, 0.03, pick(rng, "screen"), lean=0.8)
    for row in range(3):
        piece.box((0, 0.31, 0.1 + row * 0.18), (0.54, 0.012, 0.15), "metal0")
    piece.box((-0.35, 0, 0.55), (0.2, 0.4, 0.03), "metal0")
    return piece.name("copier", "white")


def counter(rng: Generator) -> Piece:
    """A reception counter, 1.4 to 2.4 m long: front at 1.1 m, desk behind it at 0.74 m."""
    piece, front, width = Piece(), pick(rng, "wood", "paint", "metal"), rng.uniform(1.4, 2.4)
    piece.box((0, 0.3, 0), (width, 0.08, 1.06), front)
    piece.box((0, 0.26, 1.06), (width + 0.06, 0.3, 0.04), pick(rng, "wood", "paint"))
    piece.box((0, -0.05, 0.7), (width, 0.66, 0.03), front)
    for x in (-width / 2 + 0.03, width / 2 - 0.03):
        piece.box((x, -0.05, 0), (0.06, 0.62, 0.7), front)
    piece.tops.append((0, -0.1, 0.73, width / 2 - 0.1, 0.2))
    return piece.name("reception counter", front)
