"""Cameras in rooms: at the heights and tilts that robots and people carry them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clip_depth_training.simulation.scene import Room

if TYPE_CHECKING:
    from clip_depth_training.simulation.render import RenderConfig

CEILING_CLEARANCE = 0.3  # metres


@dataclass(frozen=True)
class View:
    """A pinhole camera in a room: position (metres), rotation (3, 3) from camera (x right, y down, z forward, REP 103
    optical) to world, and focal lengths relative to the picture's width and height (centre in the middle)."""

    position: np.ndarray
    rotation: np.ndarray
    focal_x: float
    focal_y: float

    def intrinsics(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Returns fx, fy, cx, cy in pixels of a picture of the given size; pixel centres lie at whole numbers."""
        return self.focal_x * width, self.focal_y * height, (width - 1) / 2, (height - 1) / 2


@dataclass(frozen=True)
class Carrier:
    """What carries a camera: heights (metres), mean and spread of its tilt downwards and spread of its roll (radians),
    and how often it is drawn."""

    name: str
    heights: tuple[float, float]
    tilt: tuple[float, float]
    roll: float
    weight: float


# Vacuum cleaners look level from 0.1 to 0.2 m; delivery robots and AMRs from 0.3 to 0.8 m; mobile manipulators look
# down at their hands from 1.0 to 1.5 m; humanoids and people hold cameras at 1.4 to 1.8 m; drones anywhere above.
CARRIERS = (
    Carrier("vacuum cleaner", (0.1, 0.2), (0.0, 0.06), 0.015, 0.1),
    Carrier("delivery robot", (0.3, 0.8), (0.05, 0.12), 0.02, 0.28),
    Carrier("mobile manipulator", (1.0, 1.5), (0.35, 0.2), 0.03, 0.22),
    Carrier("humanoid or hand", (1.4, 1.8), (0.2, 0.22), 0.05, 0.3),
    Carrier("drone", (0.5, 3.3), (0.15, 0.25), 0.08, 0.1),
)


def look(position: np.ndarray, heading: float, pitch: float, roll: float) -> np.ndarray:
    """Returns the rotation (3, 3) from the optical frame to the world; ``pitch`` is positive downwards (radians)."""
    forward = np.array([math.cos(heading) * math.cos(pitch), math.sin(heading) * math.cos(pitch), -math.sin(pitch)])
    right = np.array([math.sin(heading), -math.cos(heading), 0.0])
    down = np.cross(forward, right)
    turned = math.cos(roll) * right + math.sin(roll) * down
    return np.stack([turned, np.cross(forward, turned), forward], axis=1)


def sample_view(room: Room, rng: np.random.Generator, config: RenderConfig) -> View:
    """Draws a camera of a random carrier, clear of furniture, walls and ceiling."""
    carrier = CARRIERS[int(rng.choice(len(CARRIERS), p=[c.weight for c in CARRIERS]))]
    for _ in range(60):
        x, y = rng.uniform(-0.5, 0.5, 2) * (room.size[0] - 0.4, room.size[1] - 0.4)
        z = float(rng.uniform(*carrier.heights))
        top = room.headroom(x, y) - CEILING_CLEARANCE
        if carrier.name == "drone":
            z = min(z, top)
        if room.holds(x, y, 0.2) and z <= top and _clear(room, x, y, z):
            break
    towards_middle = math.atan2(-y, -x) + rng.normal(0, 1.0)
    heading = towards_middle if rng.uniform() < 0.6 else rng.uniform(-math.pi, math.pi)
    pitch = float(np.clip(rng.normal(*carrier.tilt), -0.5, 1.1))
    position = np.array([x, y, min(z, max(top, 0.1))])
    rotation = look(position, heading, pitch, rng.normal(0, carrier.roll))
    aspect = float(rng.choice(config.aspects)) if config.aspects else config.width / config.height
    focal = 0.5 / math.tan(math.radians(rng.uniform(*config.field_of_view)) / 2)
    return View(position, rotation, focal, focal * aspect)


def _clear(room: Room, x: float, y: float, z: float) -> bool:
    """Whether a point is beside or well above everything that stands in the room."""
    return all(
        max(abs(x - f.x) - f.half_x, abs(y - f.y) - f.half_y) > 0.12 or f.height < z - 0.2 for f in room.footprints
    )
