"""Pictures with depth, calibration and poses, as public RGB-D data sets come; where they lie, rgbd_layouts finds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput

if TYPE_CHECKING:
    from clip_depth_ros.depth.camera import CameraModel

_SAME_PIXEL = 0.5  # depth whose pixels are off by less than this belongs to the picture's as it is


@dataclass(frozen=True, eq=False)
class RgbdFolder:
    """Pictures, the depth that belongs to each, their camera, and where it was.

    Attributes:
        pictures: colour files in order.
        depths: the depth file of each picture, None for a picture without; or empty.
        camera: the pictures' calibration, or None.
        depth_scale: units a metre of 16-bit depth files.
        depth_intrinsics: ``(3, 3)`` float64, K of the depth files in pixels, where they are a camera's of its own
            (beside the pictures' camera, looking the same way); None where depth pixels are the pictures'.
        stamps_ns: when each picture was taken (nanoseconds, rising); empty where unknown.
        depth_stamps_ns: the same of each picture's depth; empty where unknown or the same.
        poses: camera-to-world ``(4, 4)`` at each picture, None for a picture without; or empty.
        notes: sentences about what was chosen and left out.
    """

    pictures: tuple[Path, ...]
    depths: tuple[Path | None, ...]
    camera: CameraModel | None
    depth_scale: float
    depth_intrinsics: np.ndarray | None = None
    stamps_ns: tuple[int, ...] = ()
    depth_stamps_ns: tuple[int | None, ...] = ()
    poses: tuple[np.ndarray | None, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def find(
        cls,
        folder: Path | str | None,
        *,
        rgb: Path | str | None = None,
        depth: Path | str | None = None,
        intrinsics: Path | str | None = None,
        depth_intrinsics: Path | str | None = None,
        poses: Path | str | None = None,
        depth_scale: float | None = None,
    ) -> RgbdFolder:
        """Finds what a folder holds; arguments as those of :func:`clip_depth_ros.replay.make_bag.make_bag`.

        Raises:
            BadInput: something named or needed is missing, or pictures and depths cannot be paired.
        """
        from clip_depth_ros.replay.rgbd_layouts import Given, find

        def path(value: Path | str | None) -> Path | None:
            return Path(value) if value is not None else None

        return find(
            path(folder),
            Given(path(rgb), path(depth), path(intrinsics), path(depth_intrinsics), path(poses), depth_scale),
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns picture (H, W, 3) uint8 RGB and depth (H, W) float32 metres, NaN = no reading (None without depth).

        Raises:
            BadInput: a file cannot be read, or sizes differ.
        """
        path = self.pictures[index]
        picture = read_picture(path)
        height, width = picture.shape[:2]
        camera = self.camera
        if camera is not None and (camera.width, camera.height) != (width, height):
            raise BadInput(
                f"{path} is {width}x{height}, but its calibration is for {camera.width}x{camera.height}: "
                f"give the calibration of these pictures."
            )
        file = self.depths[index] if self.depths else None
        if file is None:
            return picture, None
        depth = read_depth(file, self.depth_scale)
        if self.depth_intrinsics is not None:
            return picture, self._registered(depth, file)
        if depth.shape != (height, width):
            raise BadInput(
                f"{file} is {depth.shape[1]}x{depth.shape[0]}, but {path.name} is {width}x{height}: "
                f"depth must be registered to the picture, or come with the intrinsics of both."
            )
        return picture, depth

    def _registered(self, depth: np.ndarray, file: Path) -> np.ndarray:
        """Returns what a depth picture of its own pixels says at each of the picture's: the nearest reading.

        Depth along z is the same seen from the same place in the same direction, so values stay as they are.
        """
        columns, rows = self._depth_pixels
        height, width = depth.shape
        k = self.depth_intrinsics
        assert k is not None
        if not (0 < k[0, 2] < width and 0 < k[1, 2] < height):
            raise BadInput(
                f"{file} is {width}x{height}, but its intrinsics have the principal point ({k[0, 2]:g}, {k[1, 2]:g}): "
                "give those of depth pictures of this size."
            )
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        registered = np.full(inside.shape, np.nan, np.float32)
        registered[inside] = depth[rows[inside], columns[inside]]
        return registered

    @cached_property
    def _depth_coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) float32 columns and rows of the depth picture that the picture's pixels see; NaN where none."""
        assert self.camera is not None
        assert self.depth_intrinsics is not None
        rays, k = self.camera.rays(), self.depth_intrinsics
        return rays[..., 0] * k[0, 0] + k[0, 2], rays[..., 1] * k[1, 1] + k[1, 2]

    @cached_property
    def _depth_pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """The nearest whole columns and rows, int32, -1 where none."""
        columns, rows = (
            np.rint(np.nan_to_num(values, nan=-1).clip(-1, 2**20)).astype(np.int32)
            for values in self._depth_coordinates
        )
        return columns, rows

    @property
    def depth_is_aligned(self) -> bool:
        """Whether a depth picture of the pictures' size and with ``depth_intrinsics`` has the pictures' pixels."""
        columns, rows = self._depth_coordinates
        height, width = columns.shape
        across = np.abs(columns - np.arange(width, dtype=np.float32))
        down = np.abs(rows - np.arange(height, dtype=np.float32)[:, None])
        return bool(max(np.nanmax(across), np.nanmax(down)) < _SAME_PIXEL)


def read_depth(path: Path, scale: float) -> np.ndarray:
    """Returns a depth file as (H, W) float32 metres, NaN = no reading.

    Args:
        path: 16-bit PNG or TIFF (0 = no reading), or float TIFF or ``.npy`` in metres.
        scale: units a metre of 16-bit files.

    Raises:
        BadInput: it cannot be read, or holds something else.
    """
    try:
        raw = (
            np.load(path, allow_pickle=False) if path.suffix == ".npy" else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        )
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{path} cannot be read ({error}): write it again.") from error
    if raw is None:
        raise BadInput(f"{path} cannot be read as a picture: it is damaged, or of another format.")
    if raw.ndim != 2 or raw.dtype not in (np.uint16, np.float32, np.float64):
        raise BadInput(
            f"{path} is {raw.dtype} with shape {raw.shape}: depth is one channel, 16-bit or float in metres."
        )
    depth = raw.astype(np.float32) / np.float32(scale) if raw.dtype == np.uint16 else raw.astype(np.float32)
    depth[~(depth > 0) | ~np.isfinite(depth)] = np.nan
    return depth


def read_picture(path: Path) -> np.ndarray:
    """Returns a picture as (H, W, 3) uint8 RGB; BadInput where it cannot be read."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise BadInput(f"{path} cannot be read as a picture: it is damaged, or of another format.")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
