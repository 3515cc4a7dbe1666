"""What gives a simulated room its look: a palette of materials, and its lamps."""

from __future__ import annotations

import math

import numpy as np

from clip_depth_training.simulation import textures
from clip_depth_training.simulation.primitives import Geom
from clip_depth_training.simulation.scene import Room, numbers
from clip_depth_training.simulation.textures import Surface

TEXTURE_SIZE = 256
SMALL_TEXTURE_SIZE = 128
_CUBE_SIZE = 64


def add_materials(room: Room, rng: np.random.Generator) -> None:
    """Fills the room's palette: one floor, one to three walls, ceiling, wood, cloth, paint, metal, pictures."""
    room.surfaces["floor"] = textures.floor(rng, TEXTURE_SIZE)
    room.surfaces["floor2"] = textures.floor(rng, TEXTURE_SIZE)
    room.surfaces["rug"] = Surface(
        textures.cloth(rng, SMALL_TEXTURE_SIZE, textures.colour(rng, (0.1, 0.8), (0.2, 0.8))).pixels
    )
    main = textures.wall(rng, TEXTURE_SIZE)
    for index in range(4):
        room.surfaces[f"wall{index}"] = main if index == 0 or rng.uniform() < 0.75 else textures.wall(rng, TEXTURE_SIZE)
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
        white=(0.9, 0.9, 0.88), black=(0.06, 0.06, 0.07), glow=(1.0, 0.95, 0.8), skin=(skin, skin * 0.75, skin * 0.6)
    )


def _cube(rng: np.random.Generator, surface: Surface) -> np.ndarray:
    """Returns six faces ``(6 * 64, 64, 3)`` cut from one picture for the sides of boxes."""
    faces = []
    for _ in range(6):
        top, left = rng.integers(0, surface.pixels.shape[0] - _CUBE_SIZE, 2)
        faces.append(surface.pixels[top : top + _CUBE_SIZE, left : left + _CUBE_SIZE])
    return np.concatenate(faces)


def add_lights(room: Room, rng: np.random.Generator) -> None:
    """Adds one to four lamps; the first one or two cast shadows. Sets the ambient light."""
    width, depth, height = room.size
    count = int(rng.integers(1, 5))
    power = rng.uniform(0.5, 1.1) / math.sqrt(count)
    warmth = rng.uniform(0.7, 1.0)
    shadows = int(rng.choice([0, 1, 2], p=[0.2, 0.7, 0.1]))
    for index in range(count):
        x, y = rng.uniform(-0.4, 0.4) * width, rng.uniform(-0.4, 0.4) * depth
        aim = rng.normal(0, 0.25, 2)
        glow = numbers((power, power * (1 + warmth) / 2, power * warmth), 3)
        room.lights.append(
            f'<light pos="{numbers((x, y, height - 0.12), 3)}" dir="{numbers((*aim, -1.0), 3)}" '
            f'cutoff="{rng.uniform(75, 88):.1f}" exponent="{rng.uniform(0, 2):.2f}" '
            f'attenuation="1 0 {rng.uniform(0.0, 0.06):.3f}" diffuse="{glow}" specular="0.2 0.2 0.2" '
            f'castshadow="{str(index < shadows).lower()}"/>'
        )
        if rng.uniform() < 0.7:
            round_lamp = rng.uniform() < 0.5
            size = (
                (rng.uniform(0.12, 0.25), 0.03)
                if round_lamp
                else (rng.uniform(0.15, 0.6), rng.uniform(0.08, 0.3), 0.02)
            )
            kind = "cylinder" if round_lamp else "box"
            room.geoms.append(Geom(kind, size, (x, y, height - 0.03), "glow"))
    # What real rooms have by reflection: light from below on the ceiling, and unequal light on the four walls.
    for direction, low, high in (((0.2, 0.1, 1.0), 0.1, 0.35), ((*rng.normal(0, 1, 2), -0.2), 0.0, 0.3)):
        power = float(rng.uniform(low, high))
        room.lights.append(
            f'<light type="directional" dir="{numbers(direction, 3)}" diffuse="{numbers([power] * 3, 3)}" '
            f'specular="0 0 0" castshadow="false"/>'
        )
    room.ambient = float(rng.uniform(0.25, 0.6))
