"""Renders simulated rooms to shards of RGB, depth along Z and intrinsics: ``clip-depth-train render``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from clip_depth_training.simulation.captions import describe, visible
from clip_depth_training.simulation.opengl import gl_context
from clip_depth_training.simulation.rooms import make_room
from clip_depth_training.simulation.scene import FAR, NEAR, Room
from clip_depth_training.simulation.sensor import LensMap, degrade, draw_lens, lens_map
from clip_depth_training.simulation.views import View, sample_view

GENERATOR = 2  # counts up when the same seed gives other rooms or pictures: sets are not mixed
MAXIMUM_ATTEMPTS = 12
_SEGMENT_STEP = 8  # rendered pixels for one that is looked at for captions
SUPERSAMPLING = 3  # odd, so that a pixel of the final picture has one rendered pixel at its centre


@dataclass(frozen=True)
class RenderConfig:
    """What to render: rooms, views of each, picture size (pixels), aspect ratios of the cameras that the picture is
    squeezed from (empty: the picture's own), seed, the range of the horizontal field of view (degrees; with a lens,
    what its focal length would give a pinhole), and the level of lens and sensor effects."""

    rooms: int
    views: int
    width: int
    height: int
    seed: int
    aspects: tuple[float, ...] = ()
    field_of_view: tuple[float, float] = (40.0, 110.0)
    sensor: str = "mild"


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
        self.inventory = room.inventory()
        data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, data)
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 100)
        camera, option = mujoco.MjvCamera(), mujoco.MjvOption()
        mujoco.mjv_updateScene(self._model, data, option, None, camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene)
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        drawn = self._scene.geoms[: self._scene.ngeom]
        self._solid = np.full(max(geom.segid for geom in drawn) + 2, -1)  # colour number to solid; 0 is the background
        for geom in drawn:
            self._solid[geom.segid + 1] = geom.objid

    def __enter__(self) -> RoomRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.free()

    def render(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Returns RGB (H, W, 3) uint8 and depth along Z (H, W) float32 in metres."""
        self._aim(view)
        rgb, buffer = np.empty((*self._shape, 3), np.uint8), np.empty(self._shape, np.float32)
        self._mujoco.mjr_render(self._rectangle, self._scene, self._context)
        self._mujoco.mjr_readPixels(rgb, buffer, self._rectangle, self._context)
        # The buffer holds near * (far / z - 1) / (far - near): 1 at the near plane and 0 at the far one.
        depth = FAR * NEAR / (buffer * (FAR - NEAR) + NEAR)
        return np.ascontiguousarray(rgb[::-1]), np.ascontiguousarray(depth[::-1])

    def segment(self, view: View) -> np.ndarray:
        """Returns the number of the room's solid that each pixel shows, (H // 8, W // 8) int, -1 for none."""
        self._aim(view)
        height, width = self._shape[0] // _SEGMENT_STEP, self._shape[1] // _SEGMENT_STEP
        flags, kinds = self._scene.flags, self._mujoco.mjtRndFlag
        before = flags.copy()
        flags[kinds.mjRND_SHADOW], flags[kinds.mjRND_SEGMENT], flags[kinds.mjRND_IDCOLOR] = 0, 1, 1
        small, ids = self._mujoco.MjrRect(0, 0, width, height), np.empty((height, width, 3), np.uint8)
        self._mujoco.mjr_render(small, self._scene, self._context)
        self._mujoco.mjr_readPixels(ids, None, small, self._context)
        flags[:] = before
        numbers = ids[::-1].astype(np.int64) @ (1, 256, 65536)
        return np.asarray(self._solid[np.minimum(numbers, len(self._solid) - 1)])

    def _aim(self, view: View) -> None:
        """Puts the scene's camera at a view."""
        for camera in self._scene.camera:
            camera.pos = view.position
            camera.forward, camera.up = view.rotation[:, 2], -view.rotation[:, 1]
            camera.frustum_center = 0.0
            camera.frustum_width = 0.5 * NEAR / view.focal_x
            camera.frustum_top = 0.5 * NEAR / view.focal_y
            camera.frustum_bottom = -camera.frustum_top
            camera.frustum_near, camera.frustum_far = NEAR, FAR


def _acceptable(depth: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether a view is worth keeping: not inside something, and seldom a bare surface from close by."""
    near, middle, far = np.percentile(depth[::SUPERSAMPLING, ::SUPERSAMPLING], (2, 50, 95))
    if near < 0.08 or middle < 0.35 or far > FAR / 2:
        return False
    return bool(far > 1.4 or rng.uniform() < 0.15)


def render_room(seed: int, index: int, config: RenderConfig) -> dict[str, np.ndarray]:
    """Renders one room's views.

    Returns:
        ``rgb`` (V, H, W, 3) uint8; ``depth`` (V, H, W) uint16 in millimetres, 0 beyond 65.535 m; ``intrinsics`` (V, 4)
        float32 as fx, fy, cx, cy in pixels; ``distortion`` (V, 5) float32 as k1, k2, p1, p2, k3, of the normalised
        coordinates; ``pose`` (V, 4, 4) float32 from the optical frame to the world (metres); ``captions`` (V, 2)
        unicode.
    """
    rng = np.random.default_rng([seed, index, 0xCA3])
    room = make_room(room_seed(seed, index))
    taken = []
    with RoomRenderer(room, SUPERSAMPLING * config.width, SUPERSAMPLING * config.height) as renderer:
        for _ in range(config.views * MAXIMUM_ATTEMPTS):
            picture = _take(room, renderer, rng, config)
            if picture:
                taken.append(picture)
            if len(taken) == config.views:
                break
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "rgb": (np.uint8, (config.height, config.width, 3)),
        "depth": (np.uint16, (config.height, config.width)),
        "intrinsics": (np.float32, (4,)),
        "distortion": (np.float32, (5,)),
        "pose": (np.float32, (4, 4)),
        "captions": (np.str_, (2,)),
    }
    return {
        name: np.array([picture[name] for picture in taken], kind).reshape(-1, *shape)
        for name, (kind, shape) in shapes.items()
    }


def _take(room: Room, renderer: RoomRenderer, rng: np.random.Generator, config: RenderConfig) -> dict[str, Any] | None:
    """Takes one picture with everything that is kept of it, or None where the view is a poor one."""
    view = sample_view(room, rng, config)
    lens = draw_lens(rng, view, config.sensor)
    mapping = lens_map(view, lens, config.width, config.height)
    wide = view if config.sensor == "none" else mapping.wide
    rgb, depth = renderer.render(wide)
    if not _acceptable(depth, rng):
        return None
    items, owner = renderer.inventory
    solids = renderer.segment(wide)
    rows, columns = (_middles(nodes) for nodes in (mapping.nodes_v, mapping.nodes_u))
    if config.sensor == "none":
        small, small_depth = shrink(rgb, depth)
    else:
        small, small_depth = bend(rgb, depth, mapping, config.width, config.height)
        small = degrade(small, rng, config.sensor)
    seen = visible(
        items,
        np.append(owner, -1)[_look_up(solids, rows, columns)],  # -1, the background, takes the last
        _look_up(depth, rows, columns),
    )
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3], pose[:3, 3] = view.rotation, view.position
    fx, fy, cx, cy = view.intrinsics(config.width, config.height)
    return {
        "rgb": small,
        "depth": to_millimetres(np.where(small_depth < 0.99 * FAR, small_depth, 0.0)),  # the void has no depth
        "intrinsics": (fx, fy, cx + lens.off_x * config.width, cy + lens.off_y * config.height),
        "distortion": lens.coefficients(),
        "pose": pose,
        "captions": describe(room, seen, float(small.mean()), rng),
    }


def _middles(nodes: np.ndarray) -> np.ndarray:
    """Returns the middles of a grid's cells."""
    return np.asarray((nodes[1:, 1:] + nodes[:-1, :-1]) / 2)


def _look_up(picture: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns the values of a picture (H, W) at shares 0..1 of its height and width."""
    height, width = picture.shape
    row, column = (rows * height).astype(int), (columns * width).astype(int)
    return np.asarray(picture[row.clip(0, height - 1), column.clip(0, width - 1)])


def bend(
    rgb: np.ndarray, depth: np.ndarray, mapping: LensMap, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a lens makes of a wide pinhole picture: RGB (height, width, 3) averaged over 3 x 3 samples, and the
    depth of the rendered pixel nearest to each pixel's centre (height, width)."""
    wide_size = (rgb.shape[1], rgb.shape[0])
    fine = mapping.pixels(width, height, SUPERSAMPLING, wide_size)
    warped = cv2.remap(rgb, *fine, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    u, v = mapping.pixels(width, height, 1, wide_size)
    column, row = np.rint(u).astype(int), np.rint(v).astype(int)
    small = cv2.resize(warped, (width, height), interpolation=cv2.INTER_AREA)
    return small, depth[row.clip(0, depth.shape[0] - 1), column.clip(0, depth.shape[1] - 1)]


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
