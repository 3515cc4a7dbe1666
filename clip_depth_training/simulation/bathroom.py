"""Sanitary ware and household machines of real-world sizes (metres); backs towards -y."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from clip_depth_training.simulation.furniture import pick
from clip_depth_training.simulation.meshes import revolve, ring, rounded_box
from clip_depth_training.simulation.primitives import Mesh, Piece, turn

Generator = np.random.Generator


@cache
def _bowl(half_x: float, half_y: float, high: float) -> Mesh:
    """A hollow bowl: outer wall up, a rim, and the inside down to a bottom; ``high`` metres."""
    round_bowl = revolve([(0.5, 0), (0.85, 0.5), (1.0, 0.96), (0.97, 1.0), (0.84, 0.98), (0.7, 0.5), (0.35, 0.25)], 18)
    return Mesh(round_bowl.vertices * (half_x, half_y, high), round_bowl.faces)


def toilet(rng: Generator) -> Piece:
    """A toilet: rim at 0.40 m, 0.37 m wide, with seat, lid and cistern to 0.8 m."""
    piece = Piece()
    piece.box((0, -0.28, 0.38), (0.36, 0.17, 0.4), "white")
    piece.box((0, -0.1, 0), (0.22, 0.36, 0.3), "white")
    piece.mesh((0, 0.08, 0.02), _bowl(0.185, 0.26, 0.38), "white")
    seat = "white" if rng.uniform() < 0.7 else pick(rng, "paint", "wood")
    if rng.uniform() < 0.6:
        piece.ellipsoid((0, 0.08, 0.415), (0.19, 0.27, 0.022), seat)
    else:
        piece.panel((0, -0.17, 0.62), 0.36, 0.44, 0.025, seat, lean=0.12)
    return piece.name("toilet", "white")


def washstand(rng: Generator) -> Piece:
    """A wash basin with rim at 0.85 m on a foot or a cupboard, with tap, often a mirror above."""
    piece, width = Piece(), rng.uniform(0.45, 0.7)
    base = "white" if rng.uniform() < 0.5 else pick(rng, "wood", "paint")
    if rng.uniform() < 0.5:
        piece.box((0, -0.05, 0), (width + 0.1, 0.4, 0.68), base)
        piece.box((0, 0.16, 0.36), (0.12, 0.03, 0.02), "metal0")
    else:
        piece.mesh((0, -0.02, 0), revolve([(0.13, 0), (0.08, 0.1), (0.07, 0.5), (0.12, 0.7)]), "white")
    piece.mesh((0, 0, 0.68), _bowl(round(width / 2, 2), 0.22, 0.17), "white")
    piece.box((0, -0.24, 0.78), (width * 0.8, 0.06, 0.07), "white")
    piece.cylinder((0, -0.22, 0.83), 0.015, 0.14, "metal0")
    piece.bar((0, -0.22, 0.96), (0, -0.1, 0.94), 0.012, "metal0")
    piece.name("wash basin", "white")
    if rng.uniform() < 0.6:
        piece.panel((0, -0.26, 1.5), width, 0.8, 0.015, "metal0")
        piece.name("mirror", "glow")
    return piece


def bathtub(rng: Generator) -> Piece:
    """A bath 1.6 to 1.8 m long, 0.7 to 0.8 m wide, rim at 0.55 to 0.6 m: boxed in, or free with a round rim."""
    piece, length, wide, high = Piece(), rng.uniform(1.55, 1.8), rng.uniform(0.7, 0.8), rng.uniform(0.55, 0.6)
    if rng.uniform() < 0.35:
        piece.mesh((0, 0, 0), _bowl(round(length / 2, 2), round(wide / 2, 2), round(high, 2)), "white")
        return piece.name("bathtub", "white")
    edge, side = 0.07, "white" if rng.uniform() < 0.6 else pick(rng, "paint", "wood")
    for y in (-1, 1):
        piece.box((0, y * (wide - edge) / 2, 0), (length, edge, high), side)
    for x in (-1, 1):
        piece.box((x * (length - edge) / 2, 0, 0), (edge, wide - 2 * edge, high), side)
    piece.box((0, 0, 0), (length - 2 * edge, wide - 2 * edge, 0.15), "white")
    for y in (-1, 1):
        piece.box((0, y * (wide - edge) / 2, high), (length, edge + 0.02, 0.02), "white")
    piece.bar((length / 2 - 0.2, -wide / 2 + 0.03, high + 0.15), (length / 2 - 0.2, 0, high + 0.14), 0.015, "metal0")
    return piece.name("bathtub", "white")


def shower(rng: Generator) -> Piece:
    """A shower of 0.8 to 1.0 m: tray, rail, and walls of matt panels on one or two sides."""
    piece, side = Piece(), rng.uniform(0.8, 1.0)
    piece.box((0, 0, 0), (side, side, rng.uniform(0.04, 0.16)), "white")
    panel = pick(rng, "paint", "cloth") if rng.uniform() < 0.6 else "white"
    piece.box((side / 2 - 0.02, 0, 0.05), (0.02, side, 1.9), panel)
    if rng.uniform() < 0.5:
        piece.box((-side / 4, side / 2 - 0.02, 0.05), (side / 2, 0.02, 1.9), panel)
    piece.bar((0, -side / 2 + 0.05, 0.9), (0, -side / 2 + 0.05, 2.05), 0.012, "metal0")
    piece.bar((0, -side / 2 + 0.05, 2.05), (0, -side / 2 + 0.3, 2.05), 0.012, "metal0")
    piece.cylinder((0, -side / 2 + 0.3, 2.0), 0.1, 0.03, "metal0")
    return piece.name("shower", "white")


def washing_machine(rng: Generator) -> Piece:
    """A washing machine or dryer: 0.6 x 0.6 x 0.85 m with a round door of 0.4 m; at times two stacked."""
    piece, shell = Piece(), "white" if rng.uniform() < 0.7 else pick(rng, "metal", "paint")
    for level in range(2 if rng.uniform() < 0.15 else 1):
        base = level * 0.86
        piece.box((0, 0, base), (0.6, 0.58, 0.85), shell)
        piece.box((0, 0.292, base + 0.7), (0.58, 0.006, 0.12), "metal1" if rng.uniform() < 0.5 else "black")
        piece.bar((0, 0.28, base + 0.42), (0, 0.31, base + 0.42), 0.15, "black")
        piece.mesh((0, 0.3, base + 0.22), ring(0.2, 0.06), "metal0", turn("x", math.pi / 2))
        piece.bar((0.2, 0.28, base + 0.76), (0.2, 0.32, base + 0.76), 0.03, "black")
    piece.tops.append((0, 0, piece.reach()[2], 0.25, 0.22))
    return piece.name("washing machine", shell)


def stove(rng: Generator) -> Piece:
    """A cooker, 0.6 x 0.6 x 0.9 m: oven window, knobs, four plates; often a hood above."""
    piece, shell = Piece(), "white" if rng.uniform() < 0.5 else pick(rng, "metal")
    piece.box((0, 0, 0), (0.6, 0.6, 0.88), shell)
    piece.box((0, 0, 0.88), (0.6, 0.6, 0.02), "black")
    piece.box((0, 0.3, 0.28), (0.46, 0.012, 0.36), "black")
    piece.bar((-0.22, 0.34, 0.7), (0.22, 0.34, 0.7), 0.012, "metal0")
    for x in (-0.2, -0.07, 0.07, 0.2):
        piece.bar((x, 0.3, 0.8), (x, 0.33, 0.8), 0.022, "black")
    for x in (-0.14, 0.14):
        for y in (-0.13, 0.13):
            piece.cylinder((x, y, 0.9), 0.09, 0.012, "metal1")
    if rng.uniform() < 0.7:
        pot = revolve([(0.11, 0), (0.12, 0.02), (0.12, 0.13), (0.11, 0.135), (0.108, 0.03)])
        piece.mesh((0.14, -0.13, 0.912), pot, pick(rng, "metal", "paint"))
    piece.name("cooker", shell)
    if rng.uniform() < 0.5:
        piece.mesh((0, -0.05, 1.55), rounded_box((0.6, 0.45, 0.16), 0.2), "metal0")
        piece.box((0, -0.15, 1.7), (0.25, 0.25, 0.5), "metal0")
        piece.name("cooker hood", "metal0")
    return piece
