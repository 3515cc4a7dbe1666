"""Cushioned and turned furniture from meshes: round sofas, poufs, vases, baskets (metres; backs towards -y)."""

from __future__ import annotations

import numpy as np

from clip_depth_training.simulation.furniture import pick
from clip_depth_training.simulation.meshes import revolve, rounded_box
from clip_depth_training.simulation.primitives import Piece, turn

Generator = np.random.Generator


def soft_sofa(rng: Generator) -> Piece:
    """A round-edged armchair or sofa for one to four: seat 0.40 to 0.46 m, back 0.75 to 0.95 m."""
    seats, unit = int(rng.integers(1, 5)), rng.uniform(0.55, 0.7)
    width, depth, seat, back = seats * unit, rng.uniform(0.82, 1.0), rng.uniform(0.4, 0.46), rng.uniform(0.75, 0.95)
    piece, cover, round_ = Piece(), pick(rng, "cloth"), rng.uniform(0.15, 0.5)
    arm = rng.uniform(0.14, 0.25)
    piece.mesh((0, 0, 0.07), rounded_box((width + 0.05, depth, seat - 0.16), 0.15), cover)
    cushion = rounded_box((unit, depth - 0.2, 0.18), round_)
    upright = rounded_box((unit, 0.22, back - seat + 0.05), round_)
    for index in range(seats):
        x = (index - (seats - 1) / 2) * unit
        piece.mesh((x, 0.09, seat - 0.15), cushion, cover)
        piece.mesh((x, -depth / 2 + 0.2, seat - 0.02), upright, cover, turn("x", 0.15))
    piece.mesh((0, -depth / 2 + 0.09, 0.07), rounded_box((width + 0.05, 0.18, back - 0.12), 0.2), cover)
    side = rounded_box((arm, depth, rng.uniform(0.48, 0.6)), round_)
    for x in (-1, 1):
        piece.mesh((x * (width + arm) / 2, 0, 0.05), side, cover)
    for x in (-width / 2, width / 2):
        for y in (-depth / 2 + 0.08, depth / 2 - 0.08):
            piece.cylinder((x, y, 0), 0.02, 0.1, "black")
    loose = rounded_box((0.42, 0.14, 0.4), 0.55)
    for _ in range(int(rng.integers(0, 3))):
        x = rng.uniform(-0.5, 0.5) * max(width - 0.4, 0.0)
        piece.mesh((x, -depth / 2 + 0.42, seat), loose, pick(rng, "cloth", "paint"), turn("x", 0.3))
    return piece.name("sofa" if seats > 1 else "armchair", cover)


def pouf(rng: Generator) -> Piece:
    """A pouf or cushioned footstool, 0.35 to 0.48 m high."""
    piece, cover = Piece(), pick(rng, "cloth")
    size, high = rng.uniform(0.4, 0.75), rng.uniform(0.33, 0.45)
    if rng.uniform() < 0.5:
        piece.mesh((0, 0, 0), rounded_box((size, size, high), 0.3), cover)
    else:
        r = size / 2
        profile = [(r * 0.85, 0), (r, 0.08), (r, high - 0.08), (r * 0.9, high - 0.02), (r * 0.6, high)]
        piece.mesh((0, 0, 0), revolve(profile, 18), cover)
    return piece.name("pouf", cover)


def vase(rng: Generator, high: float | None = None) -> Piece:
    """A vase, 0.4 to 0.8 m on the floor, with twigs at times."""
    high = high or float(rng.uniform(0.4, 0.8))
    piece, glaze = Piece(), pick(rng, "paint")
    heights = np.linspace(0, high, 6)
    radii = high * np.array([0.16, *rng.uniform(0.15, 0.28, 3), rng.uniform(0.07, 0.14), rng.uniform(0.09, 0.16)])
    piece.mesh((0, 0, 0), revolve(list(zip(radii.tolist(), heights.tolist())), 16), glaze)
    if rng.uniform() < 0.4:
        for _ in range(5):
            tip = rng.normal(0, 0.12 * high, 2)
            piece.bar((0, 0, high * 0.95), (tip[0], tip[1], high * rng.uniform(1.3, 1.8)), 0.006, "wood0")
    return piece.name("vase", glaze)


def small_vase(rng: Generator) -> Piece:
    """A vase of 0.15 to 0.35 m for tables."""
    return vase(rng, float(rng.uniform(0.15, 0.35)))


def wine_bottle(rng: Generator) -> Piece:
    """A bottle with shoulders, 0.28 to 0.33 m."""
    piece, glass, high = Piece(), pick(rng, "paint", "leaf"), rng.uniform(0.28, 0.33)
    profile = [(0.037, 0), (0.038, high * 0.58), (0.03, high * 0.68), (0.014, high * 0.76), (0.014, high)]
    piece.mesh((0, 0, 0), revolve(profile, 12), glass)
    return piece.name("bottle", glass)


def deep_bowl(rng: Generator) -> Piece:
    """A hollow bowl, 0.2 to 0.3 m wide."""
    piece, glaze, r = Piece(), pick(rng, "paint", "wood"), rng.uniform(0.09, 0.15)
    profile = [(r * 0.4, 0), (r * 0.8, 0.03), (r, 0.08), (r * 0.95, 0.082), (r * 0.7, 0.035)]
    piece.mesh((0, 0, 0), revolve(profile, 16), glaze)
    return piece.name("bowl", glaze)


def laundry_basket(rng: Generator) -> Piece:
    """A basket, 0.4 to 0.65 m high, at times heaped with cloth."""
    piece, weave, high = Piece(), pick(rng, "paint", "wood"), rng.uniform(0.3, 0.6)
    r = rng.uniform(0.2, 0.28)
    profile = [(r * 0.8, 0), (r, high), (r * 0.95, high), (r * 0.78, 0.05)]
    piece.mesh((0, 0, 0), revolve(profile, 16), weave)
    if rng.uniform() < 0.6:
        heap = rounded_box((r * 1.7, r * 1.6, 0.22), 0.8)
        piece.mesh((0, 0, high - 0.12), heap, pick(rng, "cloth"))
    return piece.name("laundry basket", weave)


def tv_stand(rng: Generator) -> Piece:
    """A low board of 0.4 to 0.6 m with a television of 0.9 to 1.5 m."""
    piece, body, high = Piece(), pick(rng, "wood", "paint"), rng.uniform(0.4, 0.6)
    width, screen = rng.uniform(1.2, 1.9), rng.uniform(0.85, 1.45)
    piece.box((0, 0, 0.06), (width, 0.42, high - 0.06), body)
    for x in (-width / 4, width / 4):
        piece.box((x, 0.2, 0.1), (width / 2 - 0.02, 0.03, high - 0.16), body)
    piece.name("television stand", body)
    tall = screen * 0.5625
    piece.panel((0, -0.05, high + 0.06 + tall / 2), screen + 0.03, tall + 0.03, 0.04, "black")
    piece.panel((0, -0.026, high + 0.06 + tall / 2), screen, tall, 0.01, pick(rng, "screen"))
    piece.box((0, -0.05, high), (0.4, 0.2, 0.02), "black")
    piece.box((0, -0.06, high), (0.06, 0.04, 0.1), "black")
    return piece.name("television", "black")
