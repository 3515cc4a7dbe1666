"""Small objects that stand on furniture, and what hangs on or is set into walls; real sizes, in metres."""

from __future__ import annotations

import numpy as np

from clip_depth_training.simulation.furniture import Maker, pick
from clip_depth_training.simulation.primitives import Piece
from clip_depth_training.simulation.soft import deep_bowl, small_vase, wine_bottle

Generator = np.random.Generator


def monitor(rng: Generator) -> Piece:
    """A computer monitor, 0.5 to 0.7 m wide, often with keyboard and mouse."""
    piece, width = Piece(), rng.uniform(0.45, 0.7)
    height = width * rng.uniform(0.56, 0.8)
    base = rng.uniform(0.08, 0.15)
    piece.panel((0, -0.02, base + height / 2), width + 0.03, height + 0.03, 0.03, "black", lean=0.06)
    piece.panel((0, 0.0, base + height / 2), width, height, 0.01, pick(rng, "screen"), lean=0.06)
    piece.box((0, -0.05, 0), (0.05, 0.03, base + 0.05), "black")
    piece.box((0, -0.03, 0), (0.22, 0.18, 0.015), "black")
    if rng.uniform() < 0.7:
        dark = pick(rng, "paint") if rng.uniform() < 0.3 else "black"
        piece.box((0, 0.22, 0), (0.44, 0.14, 0.02), dark)
        piece.ellipsoid((0.3, 0.22, 0.015), (0.03, 0.055, 0.018), dark)
    return piece.name("monitor", "black")


def laptop(rng: Generator) -> Piece:
    """A laptop, 0.31 to 0.38 m wide, open."""
    piece, width, shell = Piece(), rng.uniform(0.31, 0.38), pick(rng, "metal")
    piece.box((0, 0, 0), (width, 0.24, 0.018), shell)
    piece.panel((0, -0.15, 0.12), width, 0.23, 0.008, pick(rng, "screen"), lean=0.3)
    return piece.name("laptop", shell)


def mug(rng: Generator) -> Piece:
    """A mug or can, 0.07 to 0.09 m wide."""
    piece = Piece()
    piece.cylinder((0, 0, 0), rng.uniform(0.033, 0.045), rng.uniform(0.09, 0.13), pick(rng, "paint"))
    return piece.name("mug", piece.geoms[0].material)


def bottle(rng: Generator) -> Piece:
    """A bottle, 0.22 to 0.33 m high."""
    piece, glass, height = Piece(), pick(rng, "paint"), rng.uniform(0.22, 0.33)
    piece.cylinder((0, 0, 0), 0.037, height * 0.65, glass)
    piece.cylinder((0, 0, height * 0.6), 0.015, height * 0.4, glass)
    return piece.name("bottle", glass)


def paper_stack(rng: Generator) -> Piece:
    """A sheet, book or stack of books of A5 to A4 size."""
    piece, z = Piece(), 0.0
    for _ in range(int(rng.integers(1, 5))):
        scale, thick = rng.uniform(0.8, 1.05), rng.uniform(0.003, 0.04)
        piece.box((0, 0, z), (0.21 * scale, 0.29 * scale, thick), pick(rng, "paint", "poster"))
        z += thick
    return piece.name("pile of paper", "white")


def parcel(rng: Generator) -> Piece:
    """A box of 0.1 to 0.35 m."""
    piece = Piece()
    size = rng.uniform(0.1, 0.35, 3)
    piece.box((0, 0, 0), (size[0], size[1], size[2]), pick(rng, "paint", "wood") if rng.uniform() < 0.6 else "carton")
    return piece.name("small box", piece.geoms[0].material)


def ball(rng: Generator) -> Piece:
    """A fruit, ball or globe of 0.07 to 0.3 m."""
    radius, piece = rng.uniform(0.035, 0.15), Piece()
    piece.ellipsoid((0, 0, radius), (radius, radius, radius), pick(rng, "paint", "cloth"))
    return piece.name("ball", piece.geoms[0].material)


def bowl(rng: Generator) -> Piece:
    """A low bowl or plate, with fruit at times."""
    radius, piece = rng.uniform(0.1, 0.17), Piece()
    piece.cylinder((0, 0, 0), radius, rng.uniform(0.015, 0.06), pick(rng, "paint"))
    for _ in range(int(rng.integers(0, 6))):
        x, y = rng.uniform(-0.6, 0.6, 2) * radius
        piece.ellipsoid((x, y, 0.07), (0.035, 0.035, 0.035), pick(rng, "paint", "leaf"))
    return piece.name("bowl", piece.geoms[0].material)


def desk_lamp(rng: Generator) -> Piece:
    """A desk lamp, 0.35 to 0.5 m."""
    height, piece, frame = rng.uniform(0.35, 0.5), Piece(), pick(rng, "metal", "paint")
    piece.cylinder((0, 0, 0), 0.08, 0.02, frame)
    piece.bar((0, 0, 0.02), (0.1, 0, height), 0.01, frame)
    piece.cylinder((0.1, 0.0, height - 0.1), 0.08, 0.14, "glow" if rng.uniform() < 0.6 else frame)
    return piece.name("desk lamp", frame)


def small_plant(rng: Generator) -> Piece:
    """A plant of 0.2 to 0.4 m in a pot."""
    height, piece = rng.uniform(0.2, 0.4), Piece()
    piece.cylinder((0, 0, 0), 0.06, 0.1, pick(rng, "paint"))
    for _ in range(10):
        angle, out = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.1)
        centre = (out * np.cos(angle), out * np.sin(angle), rng.uniform(0.12, height))
        piece.ellipsoid(centre, (0.025, 0.09, 0.005), pick(rng, "leaf"), rng.uniform(-0.9, 0.9), angle)
    return piece.name("plant", "leaf0")


SMALL: tuple[Maker, ...] = (
    small_vase,
    wine_bottle,
    deep_bowl,
    monitor,
    monitor,
    laptop,
    mug,
    mug,
    bottle,
    bottle,
    paper_stack,
    paper_stack,
    parcel,
    ball,
    bowl,
    desk_lamp,
    small_plant,
)


def scatter(piece: Piece, rng: Generator, density: float, computers: bool = True) -> None:
    """Puts small objects on the tops of ``piece``; ``density`` is their number a square metre."""
    choice = [maker for maker in SMALL if computers or maker not in (monitor, laptop)]
    for x, y, z, half_x, half_y in list(piece.tops):
        taken: list[tuple[float, float, float]] = []
        for _ in range(int(rng.poisson(density * 4 * half_x * half_y))):
            item = choice[int(rng.integers(len(choice)))](rng)
            radius = max(item.reach()[:2])
            at_x, at_y = x + rng.uniform(-half_x, half_x), y + rng.uniform(-half_y, half_y)
            if all((at_x - a) ** 2 + (at_y - b) ** 2 > (0.7 * (radius + r)) ** 2 for a, b, r in taken):
                taken.append((at_x, at_y, radius))
                facing_front = item.reach()[0] > 0.2
                piece.add(item, at_x, at_y, z, rng.normal(0, 0.3) if facing_front else rng.uniform(0, 2 * np.pi))


def door(rng: Generator) -> Piece:
    """A closed door in its frame: 0.8 to 0.95 m wide, 2.0 to 2.1 m high, handle at 1.05 m, flat on the wall (y = 0)."""
    piece, width, height = Piece(), rng.uniform(0.8, 0.95), rng.uniform(2.0, 2.1)
    leaf, frame = pick(rng, "wood", "paint"), pick(rng, "wood", "paint")
    piece.panel((0, 0.0, height / 2), width, height, 0.04, leaf)
    for x in (-width / 2 - 0.04, width / 2 + 0.04):
        piece.box((x, 0, 0), (0.08, 0.07, height + 0.08), frame)
    piece.box((0, 0, height), (width + 0.16, 0.07, 0.08), frame)
    piece.box((width * 0.38, 0.05, 1.03), (0.13, 0.03, 0.02), "metal0")
    if rng.uniform() < 0.4:
        for z in (0.25, 1.15):
            piece.box((0, 0.02, z), (width * 0.7, 0.015, 0.75), leaf)
    return piece.name("door", leaf)


def window(rng: Generator) -> Piece:
    """A window: sill at 0.4 to 1.1 m, head at 2.0 to 2.3 m, with bars, often radiator and curtains."""
    piece, width = Piece(), rng.uniform(0.7, 2.4)
    sill, head = rng.uniform(0.4, 1.1), rng.uniform(2.0, 2.25)
    middle, height = (sill + head) / 2, head - sill
    frame = "white" if rng.uniform() < 0.7 else pick(rng, "wood", "paint")
    piece.panel((0, 0.0, middle), width, height, 0.01, "outdoors")
    bars = max(1, round(width / rng.uniform(0.6, 1.2)))
    for index in range(bars + 1):
        piece.box((index * width / bars - width / 2, 0.02, sill), (0.06, 0.06, height), frame)
    for z in (sill - 0.03, head - 0.03):
        piece.box((0, 0.02, z), (width + 0.1, 0.08, 0.06), frame)
    piece.box((0, 0.08, sill - 0.05), (width + 0.15, 0.2, 0.03), frame)
    piece.name("window", "outdoors")
    if sill > 0.7 and rng.uniform() < 0.6:
        for index in range(int(width / 0.06)):
            piece.box((index * 0.06 - width / 2 + 0.03, 0.08, 0.12), (0.045, 0.08, 0.5), "white")
        piece.name("radiator", "white")
    if rng.uniform() < 0.35:
        cover = pick(rng, "cloth")
        for side in (-1, 1):
            for fold in range(5):
                x = side * (width / 2 + 0.3 - fold * 0.09)
                piece.cylinder((x, 0.13, 0.02), 0.05, head + 0.1, cover)
        piece.name("curtain", cover)
    return piece


def picture(rng: Generator) -> Piece:
    """A framed picture or poster of A3 to A0 size, centre at 1.3 to 1.7 m."""
    piece, short = Piece(), rng.uniform(0.28, 0.85)
    width, height = (short, short * 1.41) if rng.uniform() < 0.5 else (short * 1.41, short)
    centre = rng.uniform(1.3, 1.7)
    if rng.uniform() < 0.6:
        piece.panel((0, 0.01, centre), width + 0.05, height + 0.05, 0.02, pick(rng, "wood", "paint"))
    piece.panel((0, 0.02, centre), width, height, 0.015, pick(rng, "poster"))
    return piece.name("picture", "poster0")


def board(rng: Generator) -> Piece:
    """A whiteboard or television: 1.0 to 2.4 m wide."""
    piece, width = Piece(), rng.uniform(1.0, 2.4)
    is_screen = rng.uniform() < 0.4
    height = width * 0.56 if is_screen else rng.uniform(0.9, 1.2)
    piece.panel((0, 0.02, 1.5), width + 0.04, height + 0.04, 0.03, "black" if is_screen else "metal0")
    piece.panel((0, 0.035, 1.5), width, height, 0.02, pick(rng, "screen") if is_screen else "white")
    return piece.name("television" if is_screen else "whiteboard", "black" if is_screen else "white")


def fittings(rng: Generator) -> Piece:
    """Light switch (1.1 m), socket (0.3 m) and a clock of 0.3 m now and then."""
    piece = Piece()
    piece.box((0, 0.0, 1.06), (0.08, 0.02, 0.08), "white")
    piece.box((0.1, 0.0, 0.26), (0.16, 0.02, 0.08), "white")
    if rng.uniform() < 0.3:
        piece.bar((0.6, 0.0, 2.0), (0.6, 0.04, 2.0), 0.15, "white")
    return piece


def shelf_board(rng: Generator) -> Piece:
    """One or two wall shelves with books."""
    piece, width = Piece(), rng.uniform(0.6, 1.4)
    for z in (1.4, 1.75)[: int(rng.integers(1, 3))]:
        piece.box((0, 0.11, z), (width, 0.22, 0.025), pick(rng, "wood", "paint"))
        run = width * rng.uniform(0.3, 0.9)
        piece.panel((0, 0.1, z + 0.13), run, 0.22, 0.17, pick(rng, "books"))
    return piece.name("wall shelf", piece.geoms[0].material)


def blackboard(rng: Generator) -> Piece:
    """A blackboard, 2.0 to 3.2 m wide, lower edge at 0.9 m, with a ledge."""
    piece, width, height = Piece(), rng.uniform(1.8, 3.2), rng.uniform(1.0, 1.2)
    slate = "slate"
    piece.panel((0, 0.01, 0.9 + height / 2), width + 0.08, height + 0.08, 0.02, pick(rng, "wood", "metal"))
    piece.panel((0, 0.02, 0.9 + height / 2), width, height, 0.02, slate)
    piece.box((0, 0.06, 0.87), (width, 0.08, 0.02), "metal0")
    return piece.name("blackboard", slate)


def mirror(rng: Generator) -> Piece:
    """A small cabinet with a bright front, or a hook rail: 0.5 to 0.8 m wide, at 1.2 to 1.8 m."""
    piece, width = Piece(), rng.uniform(0.5, 0.8)
    if rng.uniform() < 0.5:
        shell = pick(rng, "paint", "wood") if rng.uniform() < 0.5 else "white"
        piece.box((0, 0.07, 1.25), (width, 0.15, 0.6), shell)
        piece.box((0, 0.15, 1.26), (width - 0.02, 0.01, 0.58), "metal0")
        return piece.name("wall cabinet", shell)
    piece.box((0, 0.02, 1.6), (width, 0.03, 0.08), pick(rng, "wood", "metal"))
    for index in range(4):
        x = (index - 1.5) * width / 4
        if rng.uniform() < 0.5:
            piece.ellipsoid((x, 0.08, 1.25), (0.09, 0.06, 0.38), pick(rng, "cloth"))
    return piece.name("coat rack", "wood0")


def radiator(rng: Generator) -> Piece:
    """A radiator, 0.6 to 1.4 m wide and 0.5 to 0.6 m high, 0.12 m above the floor."""
    piece, count, height = Piece(), int(rng.integers(10, 22)), rng.uniform(0.45, 0.6)
    for index in range(count):
        piece.box(((index - (count - 1) / 2) * 0.06, 0.08, 0.12), (0.045, 0.08, height), "white")
    piece.bar((-count * 0.03, 0.08, 0.14), (-count * 0.03, 0.08, 0.0), 0.012, "white")
    return piece.name("radiator", "white")
