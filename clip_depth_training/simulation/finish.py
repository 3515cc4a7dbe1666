"""What gives a simulated room its look: a palette of materials, and its lamps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clip_depth_training.simulation import textures
from clip_depth_training.simulation.meshes import revolve
from clip_depth_training.simulation.primitives import Geom, Piece, Tag
from clip_depth_training.simulation.scene import Item, Room, numbers
from clip_depth_training.simulation.textures import Surface

TEXTURE_SIZE = 256
SMALL_TEXTURE_SIZE = 128
_CUBE_SIZE = 64


def add_materials(room: Room, rng: np.random.Generator, floors: Sequence[float] | None = None) -> None:
    """Fills the room's palette: one floor, one to three walls, ceiling, wood, cloth, paint, metal, pictures."""
    room.looks["floor"], room.surfaces["floor"] = textures.floor(rng, TEXTURE_SIZE, floors)
    _, room.surfaces["floor2"] = textures.floor(rng, TEXTURE_SIZE)
    room.surfaces["rug"] = Surface(
        textures.cloth(rng, SMALL_TEXTURE_SIZE, textures.colour(rng, (0.1, 0.8), (0.2, 0.8))).pixels
    )
    room.looks["walls"], main = textures.wall(rng, TEXTURE_SIZE)
    for index in range(4):
        room.surfaces[f"wall{index}"] = (
            main if index == 0 or rng.uniform() < 0.75 else textures.wall(rng, TEXTURE_SIZE)[1]
        )
    grey = textures.colour(rng, (0.0, 0.08), (0.7, 1.0))
    panelled = rng.uniform() < 0.3
    ceiling = textures.tiles(rng, TEXTURE_SIZE, grey) if panelled else textures.plaster(rng, TEXTURE_SIZE, grey)
    room.surfaces["ceiling"] = Surface(ceiling.pixels, 2.4) if panelled else ceiling
    for index in range(3):
        tone = textures.warm(rng, (0.15, 0.75), (0.15, 0.95))
        room.cubes[f"wood{index}"] = _cube(rng, textures.wood(rng, SMALL_TEXTURE_SIZE, tone))
    for index in range(4):
        tone = textures.colour(rng, (0.0, 0.7), (0.1, 0.9))
        room.cubes[f"cloth{index}"] = _cube(rng, textures.cloth(rng, SMALL_TEXTURE_SIZE, tone))
    room.cubes["carton"] = _cube(
        rng, textures.plaster(rng, SMALL_TEXTURE_SIZE, textures.warm(rng, (0.3, 0.55), (0.5, 0.8)))
    )
    for index in range(8):
        bright = index < 4
        room.tints[f"paint{index}"] = textures.colour(
            rng, (0.3, 1.0) if bright else (0.0, 0.15), (0.2, 0.95) if bright else (0.05, 1.0)
        )
    for index in range(2):
        room.tints[f"metal{index}"] = textures.colour(rng, (0.0, 0.05), (0.35, 0.8))
        room.tints[f"leaf{index}"] = (rng.uniform(0.05, 0.3), rng.uniform(0.25, 0.55), rng.uniform(0.05, 0.2))
        room.surfaces[f"books{index}"] = textures.books(rng, SMALL_TEXTURE_SIZE)
        room.surfaces[f"screen{index}"] = textures.screen(rng, SMALL_TEXTURE_SIZE)
    for index in range(6):
        room.surfaces[f"poster{index}"] = textures.poster(rng, SMALL_TEXTURE_SIZE)
    room.surfaces["outdoors"] = textures.outdoors(rng, SMALL_TEXTURE_SIZE)
    skin = float(rng.uniform(0.35, 0.95))
    room.tints.update(
        white=(0.9, 0.9, 0.88),
        orange=(0.95, 0.4, 0.08),
        slate=(0.08, 0.2, 0.14) if rng.uniform() < 0.6 else (0.1, 0.1, 0.11),
        black=(0.06, 0.06, 0.07),
        glow=(1.0, 0.95, 0.8),
        skin=(skin, skin * 0.75, skin * 0.6),
    )


def _cube(rng: np.random.Generator, surface: Surface) -> np.ndarray:
    """Returns six faces ``(6 * 64, 64, 3)`` cut from one picture for the sides of boxes."""
    faces = []
    for _ in range(6):
        top, left = rng.integers(0, surface.pixels.shape[0] - _CUBE_SIZE, 2)
        faces.append(surface.pixels[top : top + _CUBE_SIZE, left : left + _CUBE_SIZE])
    return np.concatenate(faces)


def add_lights(room: Room, rng: np.random.Generator) -> None:
    """Adds one to four ceiling lamps, daylight from a window at times, and reflected light; sets the ambient light.

    One light casts shadows in most rooms (two in some): the strongest window, else the first lamps.
    """
    dim = rng.uniform() < 0.12
    shadows = int(rng.choice([0, 1, 2], p=[0.2, 0.7, 0.1]))
    windows = [item for item in room.inventory()[0] if item.noun == "window"]
    day = bool(windows) and rng.uniform() < 0.5
    if day:
        _daylight(room, windows[int(rng.integers(len(windows)))], shadows > 0, rng)
        shadows = max(0, shadows - 1)
    count = int(rng.integers(0 if day else 1, 5))
    power = rng.uniform(0.5, 1.1) / math.sqrt(max(count, 1)) * (0.4 if dim else 1.0)
    glow = numbers(power * _temperature(rng), 3)
    for index in range(count):
        x, y, height = _lamp(room, rng)
        aim = rng.normal(0, 0.25, 2)
        narrow = rng.uniform() < 0.2
        room.lights.append(
            f'<light pos="{numbers((x, y, height - 0.12), 3)}" dir="{numbers((*aim, -1.0), 3)}" '
            f'cutoff="{rng.uniform(35, 60) if narrow else rng.uniform(75, 88):.1f}" '
            f'exponent="{rng.uniform(2, 8) if narrow else rng.uniform(0, 2):.2f}" '
            f'attenuation="1 0 {rng.uniform(0.0, 0.06):.3f}" diffuse="{glow}" specular="0.2 0.2 0.2" '
            f'castshadow="{str(index < shadows).lower()}"/>'
        )
    if not room.slopes and rng.uniform() < 0.2:
        _panels(room, rng)
    # What real rooms have by reflection: light from below on the ceiling, and unequal light on the four walls.
    for direction, low, high in (((0.2, 0.1, 1.0), 0.1, 0.35), ((*rng.normal(0, 1, 2), -0.2), 0.0, 0.3)):
        power = float(rng.uniform(low, high)) * (0.5 if dim else 1.0)
        room.lights.append(
            f'<light type="directional" dir="{numbers(direction, 3)}" diffuse="{numbers([power] * 3, 3)}" '
            f'specular="0 0 0" castshadow="false"/>'
        )
    room.ambient = float(rng.uniform(0.12, 0.25) if dim else rng.uniform(0.25, 0.6))


def _temperature(rng: np.random.Generator) -> np.ndarray:
    """Returns the colour (3,) of a light between a warm bulb (2700 K) and a cold tube (8000 K)."""
    warmth = rng.uniform(-0.5, 1.0)
    if warmth > 0:
        return np.array([1.0, 1 - 0.15 * warmth, 1 - 0.35 * warmth])
    return np.array([1 + 0.3 * warmth, 1 + 0.1 * warmth, 1.0])


def _lamp(room: Room, rng: np.random.Generator) -> tuple[float, float, float]:
    """Chooses a place for a lamp, and hangs a bright body there in most cases; returns x, y and the ceiling height."""
    x, y = rng.uniform(-0.4, 0.4) * room.size[0], rng.uniform(-0.4, 0.4) * room.size[1]
    while not room.holds(x, y, 0.1):
        x, y = 0.7 * x, 0.7 * y
    height = room.headroom(x, y)
    body = rng.uniform()
    if body < 0.35:
        size: tuple[float, ...] = (rng.uniform(0.12, 0.25), 0.03)
        room.geoms.append(Geom("cylinder", size, (x, y, height - 0.03), "glow", tag=Tag("ceiling lamp", "glow")))
    elif body < 0.7:
        size = (rng.uniform(0.15, 0.6), rng.uniform(0.08, 0.3), 0.02)
        room.geoms.append(Geom("box", size, (x, y, height - 0.03), "glow", tag=Tag("ceiling lamp", "glow")))
    elif body < 0.85 and height > 2.4:
        drop, radius = rng.uniform(0.25, 0.5), rng.uniform(0.15, 0.25)
        shade = Piece()
        profile = [(radius, 0.0), (radius * 0.7, 0.12), (radius * 0.2, 0.2), (0.03, 0.22)]
        shade.mesh((x, y, height - drop - 0.22), revolve(profile), "glow" if rng.uniform() < 0.5 else "metal0")
        shade.cylinder((x, y, height - drop), 0.008, drop, "black")
        room.geoms += shade.name("hanging lamp", "glow").geoms
    return x, y, height


def _daylight(room: Room, window: Item, shadows: bool, rng: np.random.Generator) -> None:
    """Lights the room from just inside a window: walls are solid here, so daylight starts where it comes in."""
    inwards = -np.array(window.centre[:2])
    if abs(window.half[0] - window.half[1]) > 0.2:  # not on a slanted wall: straight from the wall
        thin = 0 if window.half[0] < window.half[1] else 1
        inwards[1 - thin] = 0.0
    inwards = inwards / max(float(np.linalg.norm(inwards)), 1e-6)
    x, y = np.array(window.centre[:2]) + 0.35 * inwards
    aside = rng.normal(0, 0.35)
    aim = (inwards[0] - aside * inwards[1], inwards[1] + aside * inwards[0], -rng.uniform(0.15, 0.9))
    sky = rng.uniform(0.35, 0.8) * (np.array([1.0, 0.93, 0.8]) if rng.uniform() < 0.5 else np.array([0.85, 0.93, 1.0]))
    room.lights.append(
        f'<light pos="{numbers((x, y, window.centre[2] + 0.3), 3)}" dir="{numbers(aim, 3)}" cutoff="85" '
        f'exponent="{rng.uniform(0.2, 3):.2f}" attenuation="1 0 {rng.uniform(0.0, 0.05):.3f}" '
        f'diffuse="{numbers(sky, 3)}" specular="0.2 0.2 0.2" castshadow="{str(shadows).lower()}"/>'
    )


def _panels(room: Room, rng: np.random.Generator) -> None:
    """Sets a grid of bright panels into the ceiling, as offices have."""
    half = (0.3, 0.3) if rng.uniform() < 0.5 else (0.6, 0.15)
    step = rng.uniform(1.8, 2.6)
    for x in np.arange(-room.size[0] / 2 + 0.9, room.size[0] / 2 - 0.7, step):
        for y in np.arange(-room.size[1] / 2 + 0.9, room.size[1] / 2 - 0.7, step):
            if room.holds(float(x), float(y), 0.5):
                panel = Geom("box", (*half, 0.01), (float(x), float(y), room.size[2] - 0.005), "glow")
                room.geoms.append(replace(panel, tag=Tag("ceiling lamp", "glow")))
