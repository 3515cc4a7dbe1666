"""Renders simulated rooms to shards of RGB, depth along Z and intrinsics: ``clip-depth-train render``."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput
from clip_depth_training.simulation.rooms import make_room
from clip_depth_training.simulation.scene import FAR, NEAR, Room

MAXIMUM_ATTEMPTS = 12
SUPERSAMPLING = 3  # odd, so that a pixel of the final picture has one rendered pixel at its centre


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
class RenderConfig:
    """What to render: rooms, views of each, picture size (pixels), aspect ratios of the cameras that the picture is
    squeezed from (empty: the picture's own), seed, and the range of the horizontal field of view (degrees)."""

    rooms: int
    views: int
    width: int
    height: int
    seed: int
    aspects: tuple[float, ...] = ()
    field_of_view: tuple[float, float] = (50.0, 90.0)


def look(position: np.ndarray, heading: float, pitch: float, roll: float) -> np.ndarray:
    """Returns the rotation (3, 3) from the optical frame to the world; ``pitch`` is positive downwards (radians)."""
    forward = np.array([math.cos(heading) * math.cos(pitch), math.sin(heading) * math.cos(pitch), -math.sin(pitch)])
    right = np.array([math.sin(heading), -math.cos(heading), 0.0])
    down = np.cross(forward, right)
    turned = math.cos(roll) * right + math.sin(roll) * down
    return np.stack([turned, np.cross(forward, turned), forward], axis=1)


def sample_view(room: Room, rng: np.random.Generator, config: RenderConfig) -> View:
    """Draws a camera as robots and people carry them: 0.3 to 1.8 m high, tilted, clear of the furniture."""
    width, depth, height = room.size
    for _ in range(40):
        x, y = rng.uniform(-0.5, 0.5, 2) * (width - 0.4, depth - 0.4)
        z = min(float(rng.uniform(0.3, 1.8)), height - 0.3)
        if all(
            max(abs(x - f.x) - f.half_x, abs(y - f.y) - f.half_y) > 0.12 or f.height < z - 0.2 for f in room.footprints
        ):
            break
    towards_middle = math.atan2(-y, -x) + rng.normal(0, 1.0)
    heading = towards_middle if rng.uniform() < 0.6 else rng.uniform(-math.pi, math.pi)
    pitch = rng.normal(0.12 + 0.22 * max(0.0, z - 0.7), 0.2)
    rotation = look(np.array([x, y, z]), heading, float(np.clip(pitch, -0.5, 1.0)), rng.normal(0, 0.04))
    aspect = float(rng.choice(config.aspects)) if config.aspects else config.width / config.height
    focal = 0.5 / math.tan(math.radians(rng.uniform(*config.field_of_view)) / 2)
    return View(np.array([x, y, z]), rotation, focal, focal * aspect)


class RoomRenderer:
    """Draws RGB and depth of one room in a single pass. Use as a context manager; one per process at a time.

    Raises:
        BadInput: this machine cannot make an OpenGL context.
    """

    def __init__(self, room: Room, width: int, height: int, fine: bool = False) -> None:
        self._gl = gl_context(width, height)
        import mujoco

        self._mujoco = mujoco
        self._shape = (height, width)
        self._model = room.compile(fine)
        data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, data)
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 100)
        camera, option = mujoco.MjvCamera(), mujoco.MjvOption()
        mujoco.mjv_updateScene(self._model, data, option, None, camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene)
        self._rectangle = mujoco.MjrRect(0, 0, width, height)

    def __enter__(self) -> RoomRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.free()

    def render(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Returns RGB (H, W, 3) uint8 and depth along Z (H, W) float32 in metres."""
        for camera in self._scene.camera:
            camera.pos = view.position
            camera.forward, camera.up = view.rotation[:, 2], -view.rotation[:, 1]
            camera.frustum_center = 0.0
            camera.frustum_width = 0.5 * NEAR / view.focal_x
            camera.frustum_top = 0.5 * NEAR / view.focal_y
            camera.frustum_bottom = -camera.frustum_top
            camera.frustum_near, camera.frustum_far = NEAR, FAR
        rgb, buffer = np.empty((*self._shape, 3), np.uint8), np.empty(self._shape, np.float32)
        self._mujoco.mjr_render(self._rectangle, self._scene, self._context)
        self._mujoco.mjr_readPixels(rgb, buffer, self._rectangle, self._context)
        # The buffer holds near * (far / z - 1) / (far - near): 1 at the near plane and 0 at the far one.
        depth = FAR * NEAR / (buffer.astype(np.float64) * (FAR - NEAR) + NEAR)
        return np.ascontiguousarray(rgb[::-1]), np.ascontiguousarray(depth[::-1].astype(np.float32))


_CONTEXTS: dict[int, Any] = {}


def gl_context(width: int, height: int) -> Any:
    """Returns this process's OpenGL context, made at the first call and kept; without a screen where there is a choice.

    Raises:
        BadInput: this machine cannot make one.
    """
    if os.getpid() not in _CONTEXTS:
        if sys.platform == "linux":  # MuJoCo reads this when it is imported and would ask for a screen.
            os.environ.setdefault("MUJOCO_GL", "egl")
        try:
            from mujoco.gl_context import GLContext

            _CONTEXTS[os.getpid()] = GLContext(width, height)
        except ImportError as error:
            raise BadInput("Rendering needs MuJoCo: pip install 'clip_depth_ros[train]'.") from error
        except Exception as error:  # each platform library raises its own
            raise BadInput(
                f"MuJoCo cannot render here with MUJOCO_GL={os.environ.get('MUJOCO_GL')} ({error}): install libegl1 "
                "and a Mesa driver, or set MUJOCO_GL=osmesa."
            ) from error
    _CONTEXTS[os.getpid()].make_current()
    return _CONTEXTS[os.getpid()]


def _acceptable(depth: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether a view is worth keeping: not inside something, and seldom a bare surface from close by."""
    near, middle, far = np.percentile(depth, (2, 50, 95))
    if near < 0.12 or middle < 0.35 or far > FAR / 2:
        return False
    return bool(far > 1.4 or rng.uniform() < 0.25)


def render_room(seed: int, index: int, config: RenderConfig) -> dict[str, np.ndarray]:
    """Renders one room's views.

    Returns:
        ``rgb`` (V, H, W, 3) uint8; ``depth`` (V, H, W) uint16 in millimetres, 0 beyond 65.535 m; ``intrinsics`` (V, 4)
        float32 as fx, fy, cx, cy in pixels; ``pose`` (V, 4, 4) float32 from the optical frame to the world (metres).
    """
    rng = np.random.default_rng([seed, index, 0xCA3])
    room = make_room(room_seed(seed, index))
    pictures, depths, intrinsics, poses = [], [], [], []
    with RoomRenderer(room, SUPERSAMPLING * config.width, SUPERSAMPLING * config.height) as renderer:
        for _ in range(config.views * MAXIMUM_ATTEMPTS):
            view = sample_view(room, rng, config)
            rgb, depth = renderer.render(view)
            if not _acceptable(depth, rng):
                continue
            rgb, depth = shrink(rgb, depth)
            pictures.append(rgb)
            depths.append(to_millimetres(depth))
            intrinsics.append(view.intrinsics(config.width, config.height))
            pose = np.eye(4, dtype=np.float32)
            pose[:3, :3], pose[:3, 3] = view.rotation, view.position
            poses.append(pose)
            if len(pictures) == config.views:
                break
    return {
        "rgb": np.array(pictures, np.uint8).reshape(-1, config.height, config.width, 3),
        "depth": np.array(depths, np.uint16).reshape(-1, config.height, config.width),
        "intrinsics": np.array(intrinsics, np.float32).reshape(-1, 4),
        "pose": np.array(poses, np.float32).reshape(-1, 4, 4),
    }


def room_seed(seed: int, index: int) -> int:
    """Returns the seed of room ``index`` of the set ``seed``: sets with different seeds share no room."""
    return seed * 1_000_000 + index


def shrink(rgb: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns RGB averaged over blocks, for edges as smooth as a camera's, and the depth at the blocks' centres."""
    height, width = depth.shape[0] // SUPERSAMPLING, depth.shape[1] // SUPERSAMPLING
    centre = SUPERSAMPLING // 2
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return small, depth[centre::SUPERSAMPLING, centre::SUPERSAMPLING]


def to_millimetres(depth: np.ndarray) -> np.ndarray:
    """Returns metres as uint16 millimetres; 0 where there is no reading or it is beyond 65.535 m (REP 118)."""
    millimetres = np.rint(depth * 1000.0)
    return np.where((millimetres > 0) & (millimetres <= 65535), millimetres, 0).astype(np.uint16)


def _write_shard(config: RenderConfig, index: int, output: Path) -> int:
    """Renders room ``index`` into its shard. Returns the number of views."""
    shard = render_room(config.seed, index, config)
    target = output / f"room_{index:06d}.npz"
    temporary = target.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **shard)  # type: ignore[arg-type]
    temporary.replace(target)
    return len(shard["rgb"])


def _start_worker() -> None:
    """Keeps a worker on one core: Mesa would start a thread for each core in each worker."""
    os.environ["LP_NUM_THREADS"] = "0"
    cv2.setNumThreads(1)


def render_rooms(config: RenderConfig, output: Path, workers: int) -> Iterator[tuple[int, int]]:
    """Renders what is still missing of a set of rooms into ``output``, in parallel.

    Yields:
        The number of rooms and of views done so far in this call.

    Raises:
        BadInput: ``output`` holds another set, cannot be written, or this machine cannot render.
    """
    missing = prepare_folder(config, output)
    # Workers are fresh processes: an OpenGL context does not survive a fork.
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker) as pool:
        waiting = [pool.submit(_write_shard, config, index, output) for index in missing]
        views = 0
        try:
            for done, future in enumerate(as_completed(waiting), start=1):
                views += future.result()
                yield done, views
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def prepare_folder(config: RenderConfig, output: Path) -> list[int]:
    """Makes ``output`` ready, or checks that it belongs to the same set; returns the rooms that are missing."""
    described = json.loads(json.dumps(asdict(config)))
    file = output / "set.json"
    try:
        output.mkdir(parents=True, exist_ok=True)
        if file.exists():
            before = json.loads(file.read_text(encoding="utf-8"))
            if {**before, "rooms": 0} != {**described, "rooms": 0}:
                raise BadInput(
                    f"{output} holds another set of rooms ({before}): give another folder, or the same settings to "
                    "continue."
                )
        file.write_text(json.dumps(described, indent=1), encoding="utf-8")
    except (OSError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"The folder {output} cannot be used for rendered rooms: {error}.") from error
    return [index for index in range(config.rooms) if not (output / f"room_{index:06d}.npz").exists()]
