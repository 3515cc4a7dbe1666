"""Procedural pictures for the surfaces of simulated rooms: floors, walls, wood, cloth, posters, screens, windows.

Every function draws from the given generator alone, so one seed gives one picture. Pictures are (P, P, 3) uint8 RGB.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Surface:
    """A picture that repeats over a surface; one repetition is ``metres`` wide and high (0: stretched over it once)."""

    pixels: np.ndarray
    metres: float = 0.0


def colour(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """Returns RGB in 0..1 of any hue, with saturation and value from the given ranges."""
    return colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(*saturation), rng.uniform(*value))


def warm(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """Returns RGB in 0..1 with a hue between red-brown and yellow, as wood and cardboard have."""
    return colorsys.hsv_to_rgb(rng.uniform(0.04, 0.13), rng.uniform(*saturation), rng.uniform(*value))


def colour_word(rgb: Colour) -> str:
    """Returns the everyday word for RGB in 0..1."""
    hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
    if value < 0.2:
        return "black"
    if saturation < 0.16:
        return "white" if value > 0.78 else "grey"
    if hue < 0.12 and value < 0.6:
        return "brown"
    if 0.05 < hue < 0.16 and saturation < 0.5:
        return "beige"
    limits = ((0.035, "red"), (0.11, "orange"), (0.19, "yellow"), (0.44, "green"), (0.69, "blue"), (0.82, "purple"))
    return next((word for limit, word in limits if hue < limit), "pink" if value > 0.6 and hue < 0.95 else "red")


def noise(rng: np.random.Generator, size: int, cells_x: int, cells_y: int, octaves: int = 1) -> np.ndarray:
    """Returns smooth noise ``(size, size)`` float32, mean near 0 and deviation near 1, that repeats without a seam."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        rows, columns = min(cells_y << octave, size), min(cells_x << octave, size)
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        padded = np.pad(grid, 2, mode="wrap")
        scale_y, scale_x = size / rows, size / columns
        # A shift of half a cell on both sides keeps the resized grid periodic.
        big = cv2.resize(
            padded, (round((columns + 4) * scale_x), round((rows + 4) * scale_y)), interpolation=cv2.INTER_CUBIC
        )
        top, left = round(2 * scale_y), round(2 * scale_x)
        total += 0.5**octave * big[top : top + size, left : left + size]
    return total / max(float(total.std()), 1e-6)


def _paint(base: Colour, shade: np.ndarray) -> np.ndarray:
    """Returns ``base`` brightened or darkened by the relative ``shade`` (size, size), as uint8 RGB."""
    picture = np.asarray(base, np.float32) * 255 * (1 + shade[..., None])
    return np.clip(picture, 0, 255).astype(np.uint8)


def plaster(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """A painted wall: nearly even, with faint stains and roller grain."""
    stains = noise(rng, size, 3, 3, 3) * (rng.uniform(0.03, 0.1) if rng.uniform() < 0.12 else rng.uniform(0.0, 0.025))
    grain = noise(rng, size, size // 2, size // 2) * rng.uniform(0.0, 0.04)
    return Surface(_paint(base, stains + grain), rng.uniform(1.5, 4.0))


def concrete(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """Concrete, stone or linoleum: blotches at several scales."""
    shade = noise(rng, size, 4, 4, 5) * rng.uniform(0.03, 0.12)
    return Surface(_paint(base, shade), rng.uniform(0.8, 2.5))


def carpet(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """Carpet or woven cloth, at times laid in 0.5 m squares."""
    shade = noise(rng, size, size // 2, size // 2) * rng.uniform(0.05, 0.2) + noise(rng, size, 8, 8, 2) * 0.04
    if rng.uniform() < 0.3:
        squares = np.indices((2, 2)).sum(0) % 2 * rng.uniform(0.05, 0.35)
        shade += np.kron(squares, np.ones((size // 2, size // 2))).astype(np.float32)
    return Surface(_paint(base, shade), 1.0)


def planks(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """A plank floor: boards 0.09 to 0.2 m wide with grain along the board, staggered ends and dark joints."""
    boards = int(rng.choice([8, 16]))
    width = size // boards
    shade = noise(rng, size, 4, size // 2, 2) * rng.uniform(0.03, 0.1)
    joint = -rng.uniform(0.15, 0.5)
    spread = rng.uniform(0.02, 0.15)
    for board in range(boards):
        rows = slice(board * width, (board + 1) * width)
        cut = int(rng.integers(size))
        tone = rng.normal(0, spread, 2)
        shade[rows, :cut] += tone[0]
        shade[rows, cut:] += tone[1]
        shade[rows, cut] = joint
        shade[board * width] += joint
    return Surface(_paint(base, shade), boards * rng.uniform(0.09, 0.2))


def tiles(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """Square tiles of 0.1 to 0.6 m with joints, plain or chequered."""
    count = int(rng.choice([2, 4, 8]))
    tone = rng.normal(0, rng.uniform(0.01, 0.08), (count, count))
    if rng.uniform() < 0.35:
        tone += np.indices((count, count)).sum(0) % 2 * rng.uniform(-0.7, 0.3)
    shade = np.kron(tone, np.ones((size // count, size // count))).astype(np.float32)
    shade += noise(rng, size, 8, 8, 4) * rng.uniform(0.0, 0.06)
    joint, thickness = rng.uniform(-0.5, 0.25), max(1, size // count // 24)
    for index in range(count):
        at = index * (size // count)
        shade[at : at + thickness] = joint
        shade[:, at : at + thickness] = joint
    return Surface(_paint(base, shade), count * rng.choice([0.1, 0.15, 0.2, 0.3, 0.45, 0.6]))


def marble(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """Marble or terrazzo-like stone: clouds with thin veins."""
    clouds = noise(rng, size, 3, 3, 5)
    veins = np.exp(-np.abs(noise(rng, size, 2, 2, 5) + 0.3 * clouds) * rng.uniform(6, 25))
    shade = clouds * rng.uniform(0.02, 0.08) + veins * rng.choice([-1, 0.6]) * rng.uniform(0.15, 0.6)
    return Surface(_paint(base, shade), rng.uniform(0.8, 2.0))


def herringbone(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """Parquet in herringbone: blocks four times as long as wide, 0.05 to 0.09 m wide."""
    wide, long = size // 16, 4
    v, u = np.indices((size, size))
    row, column = v // wide, u // wide
    place = (column - row) % (2 * long)
    lies = place < long
    start_row = np.where(lies, row, row - (2 * long - 1 - place)) % 16
    start_column = np.where(lies, column - place, column) % 16
    tone = rng.normal(0, rng.uniform(0.04, 0.14), (2, 16, 16))[lies.astype(int), start_row, start_column]
    grain = noise(rng, size, 4, size // 2, 2)
    shade = tone + np.where(lies, grain, grain.T) * rng.uniform(0.02, 0.07)
    end = np.where(lies, (place == 0) & (u % wide == 0), (place == 2 * long - 1) & (v % wide == 0))
    side = np.where(lies, v % wide == 0, u % wide == 0)
    shade[end | side] = -rng.uniform(0.15, 0.45)
    return Surface(_paint(base, shade.astype(np.float32)), 16 * rng.uniform(0.05, 0.09))


def bricks(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """A brick wall in running bond: bricks of 0.25 x 0.07 m."""
    rows, columns = 16, 4
    high, wide = size // rows, size // columns
    shade = noise(rng, size, 32, 32, 3) * 0.05
    for row in range(rows):
        tone = np.repeat(rng.normal(0, 0.12, columns), wide).astype(np.float32)
        band = np.roll(tone, (row % 2) * wide // 2)
        shade[row * high : (row + 1) * high] += band
        ends = (np.arange(columns) * wide + (row % 2) * wide // 2) % size
        shade[row * high : (row + 1) * high, ends] = 0.35
        shade[row * high] = 0.35
    return Surface(_paint(base, shade), 1.0)


def wallpaper(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """Stripes or a repeated figure in a second colour."""
    picture = plaster(rng, size, base).pixels.copy()
    other = tuple(int(255 * c) for c in colour(rng, (0.1, 0.5), (0.4, 0.95)))
    count = int(rng.choice([4, 8, 16]))
    step = size // count
    if rng.uniform() < 0.5:
        for index in range(count):
            picture[:, index * step : index * step + int(step * rng.uniform(0.1, 0.6))] = other
    else:
        for row in range(count):
            for column in range(count):
                centre = (column * step + step // 2, row * step + step // 2)
                cv2.circle(picture, centre, max(1, step // 4), other, -1 if count > 4 else 2)
    return Surface(picture, rng.uniform(0.6, 1.6))


def wood(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """Furniture wood: long grain with rings."""
    bend = noise(rng, size, 2, 2, 2)
    rows = np.arange(size, dtype=np.float32)[:, None] / size
    rings = np.sin((rows * rng.uniform(10, 40) + bend * rng.uniform(0.3, 1.2)) * 2 * np.pi)
    shade = rings * rng.uniform(0.01, 0.07) + noise(rng, size, 3, size // 2, 2) * rng.uniform(0.02, 0.08)
    return Surface(_paint(base, shade), rng.uniform(0.6, 1.5))


def cloth(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """Upholstery: weave, at times striped, checked or tartan."""
    if rng.uniform() < 0.12:
        return plaid(rng, size, base)
    shade = noise(rng, size, size // 2, size // 2) * rng.uniform(0.02, 0.1) + noise(rng, size, 4, 4, 2) * 0.05
    if rng.uniform() < 0.25:
        stripe = (np.arange(size) * int(rng.integers(3, 12)) // size % 2 * rng.uniform(0.2, 0.5)).astype(np.float32)
        shade += stripe[None]
        if rng.uniform() < 0.5:
            shade += stripe[:, None]
    return Surface(_paint(base, shade), rng.uniform(0.5, 1.2))


def plaid(rng: np.random.Generator, size: int, base: Colour) -> Surface:
    """Tartan: stripes of two other colours, woven both ways."""
    across = np.tile(np.asarray(base), (size, 1))
    for _ in range(int(rng.integers(2, 5))):
        left, wide = int(rng.integers(size)), int(rng.integers(size // 40 + 1, size // 6))
        across[left : left + wide] = colour(rng, (0.0, 0.9), (0.1, 0.95))
    woven = (across[:, None] + across[None]) / 2
    shade = 1 + noise(rng, size, size // 2, size // 2)[..., None] * 0.05
    return Surface(np.clip(woven * shade * 255, 0, 255).astype(np.uint8), rng.uniform(0.2, 0.6))


def landscape(rng: np.random.Generator, size: int) -> np.ndarray:
    """Returns a picture like a photograph: a sky that grows paler downwards, ranges of hills, often a sun."""
    sky = np.asarray(colour(rng, (0.2, 0.7), (0.5, 1.0))) * 255
    down = np.linspace(0, 1, size)[:, None, None]
    picture = (sky * (1 - 0.6 * down) + 235 * 0.6 * down) * np.ones((size, size, 1))
    if rng.uniform() < 0.5:
        x, y, radius = int(rng.integers(size)), int(rng.integers(size // 2)), int(rng.integers(size // 20, size // 8))
        cv2.circle(picture, (x, y), radius, (255, 240, 200), -1)
    hill = np.asarray(colour(rng, (0.1, 0.8), (0.3, 0.8))) * 255
    rows = np.arange(size)[:, None]
    for distance in range(int(rng.integers(1, 5)), 0, -1):
        ridge = size * (0.9 - 0.13 * distance) + noise(rng, size, 3, 2, 4)[0] * size * 0.06
        tone = hill + (sky - hill) * distance / 6
        picture[rows > ridge[None]] = tone
    picture *= 1 + 0.06 * noise(rng, size, 16, 16, 3)[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def poster(rng: np.random.Generator, size: int) -> Surface:
    """A picture to hang on a wall: a landscape, or blurred colour fields, figures, and lines like text."""
    if rng.uniform() < 0.35:
        return Surface(landscape(rng, size))
    fields = np.stack([noise(rng, size, 3, 3, 4) for _ in range(3)], -1) * rng.uniform(5, 30)
    fields += noise(rng, size, 3, 3, 5)[..., None] * rng.uniform(0, 60)
    picture = np.clip(fields + np.asarray(colour(rng, (0.0, 0.5), (0.3, 1.0))) * 255, 0, 255).astype(np.uint8)
    picture = np.ascontiguousarray(picture)
    for _ in range(int(rng.integers(0, 7))):
        ink = tuple(int(255 * c) for c in colour(rng, (0.0, 1.0), (0.0, 1.0)))
        x, y, w, h = (int(v) for v in rng.integers(0, size, 4))
        if rng.uniform() < 0.5:
            cv2.rectangle(picture, (x, y), (x + w // 2, y + h // 2), ink, -1)
        else:
            cv2.ellipse(picture, (x, y), (w // 4 + 1, h // 4 + 1), float(rng.uniform(0, 180)), 0, 360, ink, -1)
    if rng.uniform() < 0.5:
        for row in range(int(rng.integers(size // 2)), size - 8, 6):
            cv2.line(picture, (8, row), (int(rng.integers(size // 2, size - 8)), row), (30, 30, 30), 2)
    return Surface(picture)


def screen(rng: np.random.Generator, size: int) -> Surface:
    """A computer or television screen, off or showing windows."""
    if rng.uniform() < 0.4:
        return Surface(_paint((0.05, 0.05, 0.06), noise(rng, size, 2, 2) * 0.2))
    return Surface(poster(rng, size).pixels)


def books(rng: np.random.Generator, size: int) -> Surface:
    """A row of book spines: coloured stripes of unequal width under an uneven dark top."""
    picture = np.zeros((size, size, 3), np.uint8)
    left = 0
    while left < size:
        width = int(rng.integers(size // 32 + 1, size // 10))
        top = int(rng.integers(size // 4)) if rng.uniform() < 0.8 else 0
        ink = colour(rng, (0.0, 0.9), (0.15, 0.95))
        picture[top:, left : left + width] = [int(255 * c) for c in ink]
        picture[top:, min(left + width, size) - 1] //= 2
        label = int(rng.integers(top, size - 8))
        picture[label : label + 6, left + 1 : left + width - 1] = 230
        left += width
    return Surface(picture)


def outdoors(rng: np.random.Generator, size: int) -> Surface:
    """What a window shows: sky over houses or trees, blurred and often washed out, or night."""
    sky = np.asarray(colorsys.hsv_to_rgb(rng.uniform(0.52, 0.62), rng.uniform(0, 0.4), rng.uniform(0.7, 1.0)))
    picture = np.tile(sky * 255, (size, size, 1)).astype(np.float32)
    horizon = int(size * rng.uniform(0.2, 0.8))
    ground = np.asarray(colour(rng, (0.05, 0.5), (0.2, 0.7))) * 255
    picture[horizon:] = ground * (1 + 0.25 * noise(rng, size, 8, 8, 3)[horizon:, :, None])
    for _ in range(int(rng.integers(1, 6))):
        left, width = int(rng.integers(size)), int(rng.integers(size // 8, size // 2))
        top = int(horizon * rng.uniform(0.3, 1.0))
        picture[top : horizon + size // 6, left : left + width] = np.asarray(colour(rng, (0.05, 0.6), (0.2, 0.8))) * 255
    picture = cv2.GaussianBlur(picture, (0, 0), size / 80)
    picture = picture * 0.15 if rng.uniform() < 0.2 else picture + rng.uniform(0, 120)
    return Surface(np.clip(picture, 0, 255).astype(np.uint8))


FLOOR_ODDS = (0.35, 0.25, 0.2, 0.12, 0.08)


def floor(rng: np.random.Generator, size: int, odds: Sequence[float] | None = None) -> tuple[str, Surface]:
    """Any floor: what a caption calls it, and its picture; ``odds`` of planks, carpet, tiles, concrete, plain."""
    kind = int(rng.choice(5, p=FLOOR_ODDS if odds is None else odds))
    if kind == 0:
        boards = herringbone if rng.uniform() < 0.2 else planks
        return "wooden", boards(rng, size, warm(rng, (0.2, 0.75), (0.2, 0.9)))
    if kind == 1:
        tone = colour(rng, (0.0, 0.7), (0.15, 0.7))
        return f"{colour_word(tone)} carpet", carpet(rng, size, tone)
    if kind == 2:
        return "tiled", tiles(rng, size, colour(rng, (0.0, 0.3), (0.3, 0.95)))
    if kind == 3 and rng.uniform() < 0.3:
        return "marble", marble(rng, size, colour(rng, (0.0, 0.25), (0.3, 0.95)))
    if kind == 3:
        return "concrete", concrete(rng, size, colour(rng, (0.0, 0.2), (0.25, 0.8)))
    tone = colour(rng, (0.0, 0.4), (0.2, 0.8))
    return colour_word(tone), plaster(rng, size, tone)


def wall(rng: np.random.Generator, size: int) -> tuple[str, Surface]:
    """Any wall, what a caption calls it and its picture; most are pale."""
    pale = colour(rng, (0.0, 0.2), (0.6, 1.0)) if rng.uniform() < 0.75 else colour(rng, (0.1, 0.8), (0.15, 0.9))
    kind = int(rng.choice(5, p=[0.7, 0.12, 0.06, 0.06, 0.06]))
    if kind == 2:
        return "brick", bricks(rng, size, warm(rng, (0.1, 0.7), (0.3, 0.8)))
    maker = (plaster, wallpaper, bricks, tiles, concrete)[kind]
    look = (colour_word(pale), "patterned", "brick", "tiled", "concrete")[kind]
    return look, maker(rng, size, pale)
