"""A smooth camera walk through simulated rooms, written as an RGB-D folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_training.simulation.render import (
    SUPERSAMPLING,
    RoomRenderer,
    room_seed,
    shrink,
    to_millimetres,
)
from clip_depth_training.simulation.rooms import make_room
from clip_depth_training.simulation.scene import Room
from clip_depth_training.simulation.views import View, look

_CLEARANCE = 0.35


@dataclass(frozen=True)
class WalkConfig:
    """A recording to make.

    Attributes:
        rooms: rooms to walk through, one after the other.
        frames: frames in each room.
        width: picture width in pixels.
        height: picture height in pixels.
        seed: seed of the set of rooms; a seed that no training set has gives rooms no model has seen.
        rate_hz: frames a second.
        speed: walking speed in metres a second.
        field_of_view: horizontal field of view in degrees.
    """

    rooms: int
    frames: int
    width: int
    height: int
    seed: int
    rate_hz: float = 10.0
    speed: float = 0.5
    field_of_view: float = 70.0


def plan_walk(room: Room, rng: np.random.Generator, config: WalkConfig) -> list[View] | None:
    """Returns the views of a walk on a smooth curve clear of furniture and walls, or None where none was found."""
    width, depth, _ = room.size
    length = config.frames * config.speed / config.rate_hz
    height = rng.uniform(0.7, 1.3)
    obstacles = [f for f in room.footprints if f.height > 0.05]
    for _ in range(200):
        corners = rng.uniform(-0.5, 0.5, (4, 2)) * (width - 2 * _CLEARANCE, depth - 2 * _CLEARANCE)
        path = _curve(corners)
        along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
        if along[-1] < length:
            continue
        spots = np.stack([np.interp(np.linspace(0, length, config.frames), along, path[:, axis]) for axis in (0, 1)], 1)
        gap = [max(abs(x - f.x) - f.half_x, abs(y - f.y) - f.half_y) for x, y in spots for f in obstacles]
        inside = all(room.holds(x, y, _CLEARANCE) and room.headroom(x, y) > height + _CLEARANCE for x, y in spots)
        if (gap and min(gap) < _CLEARANCE) or not inside:
            continue
        return _look_ahead(spots, height, rng, config)
    return None


def _curve(corners: np.ndarray) -> np.ndarray:
    """Returns points (200, 2) on the Bezier curve of four control points."""
    t = np.linspace(0, 1, 200)[:, None]
    return sum(math.comb(3, i) * (1 - t) ** (3 - i) * t**i * corners[i] for i in range(4))


def _look_ahead(spots: np.ndarray, height: float, rng: np.random.Generator, config: WalkConfig) -> list[View]:
    """Returns views along ``spots`` (N, 2) that look where the walk goes, swaying a little as a robot does."""
    step = np.gradient(spots, axis=0)
    heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    time = np.arange(len(spots)) / config.rate_hz
    phase = rng.uniform(0, 2 * math.pi, 3)
    heading = heading + 0.45 * np.sin(0.7 * time + phase[0])
    pitch = 0.15 + 0.08 * np.sin(0.9 * time + phase[1])
    roll = 0.015 * np.sin(3.0 * time + phase[2])
    focal = 0.5 / math.tan(math.radians(config.field_of_view) / 2)
    views = []
    for index, (x, y) in enumerate(spots):
        position = np.array([x, y, height + 0.01 * math.sin(6 * time[index])])
        rotation = look(position, float(heading[index]), float(pitch[index]), float(roll[index]))
        views.append(View(position, rotation, focal, focal * config.width / config.height))
    return views


def walk(config: WalkConfig) -> Iterator[tuple[np.ndarray, np.ndarray, View]]:
    """Yields RGB (H, W, 3) uint8, depth (H, W) float32 metres and the view of each frame.

    Raises:
        BadInput: too few rooms of the seed leave room for such a walk.
    """
    found = 0
    for index in range(50 * config.rooms):
        seed = room_seed(config.seed, index)
        room = make_room(seed)
        if len(room.footprints) < 6 or min(room.size[:2]) < 3:
            continue  # A bare room or a corridor is a poor demonstration.
        views = plan_walk(room, np.random.default_rng([seed, 0xA1]), config)
        if views is None:
            continue
        with RoomRenderer(room, SUPERSAMPLING * config.width, SUPERSAMPLING * config.height, fine=True) as renderer:
            frames = [renderer.render(view) for view in views]
        if min(float(np.percentile(depth, 2)) for _, depth in frames) < 0.2:
            continue
        for (rgb, depth), view in zip(frames, views):
            yield *shrink(rgb, depth), view
        found += 1
        if found == config.rooms:
            return
    raise BadInput(
        f"Seed {config.seed} has too few rooms for a walk of {config.frames} frames: try another --seed, or a shorter "
        "walk."
    )


def write_walk(config: WalkConfig, output: Path) -> int:
    """Writes ``rgb/``, ``depth/`` (16-bit millimetres), ``intrinsics.json`` and ``poses.txt``; returns the frames.

    ``poses.txt`` has a line a frame: time (s), position x y z (m), quaternion x y z w of the optical frame.

    Raises:
        BadInput: the folder cannot be written, or no walk was found.
    """
    try:
        for name in ("rgb", "depth"):
            (output / name).mkdir(parents=True, exist_ok=True)
        poses, view, count = [], None, 0
        for count, (rgb, depth, view) in enumerate(walk(config), start=1):
            cv2.imwrite(str(output / "rgb" / f"{count - 1:06d}.png"), rgb[..., ::-1])
            cv2.imwrite(str(output / "depth" / f"{count - 1:06d}.png"), to_millimetres(depth))
            values = [(count - 1) / config.rate_hz, *view.position, *_quaternion(view.rotation)]
            poses.append(" ".join(f"{value:.6f}" for value in values))
        assert view is not None
        (output / "poses.txt").write_text("\n".join(poses) + "\n", encoding="utf-8")
        fx, fy, cx, cy = view.intrinsics(config.width, config.height)
        content: dict[str, Any] = {
            "width": config.width,
            "height": config.height,
            "fx": fx,
            "fy": fy,
            "cx": cx,
            "cy": cy,
        }
        content |= {"depth_scale_units_per_metre": 1000, "depth_dtype": "uint16", "invalid_value": 0}
        (output / "intrinsics.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"The folder {output} cannot be written ({error.strerror}): choose another.") from error
    return count


def _quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """Returns x, y, z, w of a rotation matrix (3, 3)."""
    vector = cv2.Rodrigues(rotation)[0][:, 0]
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle > 1e-9 else np.zeros(3)
    x, y, z = (float(value) * math.sin(angle / 2) for value in axis)
    return x, y, z, math.cos(angle / 2)
