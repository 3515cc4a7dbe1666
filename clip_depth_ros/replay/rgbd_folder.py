"""A folder of pictures with depth and calibration, as public RGB-D data sets are laid out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from clip_depth_ros.errors import BadInput

if TYPE_CHECKING:
    from clip_depth_ros.depth.camera import CameraModel

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_DEPTHS = frozenset({".png", ".tif", ".tiff", ".npy"})
_KIND_WORDS = re.compile(r"[._-]?(rgb|colou?r|image|depth)", re.IGNORECASE)
_MILLIMETRES = 1000.0


@dataclass(frozen=True)
class RgbdFolder:
    """Pictures, the depth that belongs to each, and their camera.

    Attributes:
        pictures: colour files in order.
        depths: the depth file of each picture, or empty.
        camera: their calibration, or None.
        depth_scale: units a metre of 16-bit depth files.
    """

    pictures: tuple[Path, ...]
    depths: tuple[Path, ...]
    camera: CameraModel | None
    depth_scale: float

    @classmethod
    def find(
        cls,
        folder: Path | str,
        *,
        rgb: Path | str | None = None,
        depth: Path | str | None = None,
        intrinsics: Path | str | None = None,
        depth_scale: float | None = None,
    ) -> RgbdFolder:
        """Finds what a folder holds; arguments as those of :func:`clip_depth_ros.replay.make_bag.make_bag`.

        Raises:
            BadInput: something named or needed is missing, or pictures and depths cannot be paired.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise BadInput(f"{folder} is not a folder: give one that holds rgb/, depth/ and intrinsics.json.")
        rgb_folder = Path(rgb) if rgb else (folder / "rgb" if (folder / "rgb").is_dir() else folder)
        pictures = _files(rgb_folder, _PICTURES, "pictures")
        depths: tuple[Path, ...] = ()
        if depth or (folder / "depth").is_dir():
            depths = _paired(pictures, _files(Path(depth) if depth else folder / "depth", _DEPTHS, "depth pictures"))
        camera, scale = _calibration(folder, Path(intrinsics) if intrinsics else None, pictures[0])
        scale = depth_scale if depth_scale is not None else scale
        if not scale > 0.0:
            raise BadInput(f"The depth scale is {scale} units a metre: give a number above 0.")
        return cls(pictures, depths, camera, scale)

    def __len__(self) -> int:
        return len(self.pictures)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns picture (H, W, 3) uint8 RGB and depth (H, W) float32 metres, NaN = no reading (None without depth).

        Raises:
            BadInput: a file cannot be read, or sizes differ.
        """
        path = self.pictures[index]
        picture = _read_picture(path)
        height, width = picture.shape[:2]
        camera = self.camera
        if camera is not None and (camera.width, camera.height) != (width, height):
            raise BadInput(
                f"{path} is {width}x{height}, but its calibration is for {camera.width}x{camera.height}: "
                f"give the calibration of these pictures."
            )
        if not self.depths:
            return picture, None
        depth = read_depth(self.depths[index], self.depth_scale)
        if depth.shape != (height, width):
            raise BadInput(
                f"{self.depths[index]} is {depth.shape[1]}x{depth.shape[0]}, but {path.name} is {width}x{height}: "
                f"depth must be registered to the picture."
            )
        return picture, depth


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


def _read_picture(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise BadInput(f"{path} cannot be read as a picture: it is damaged, or of another format.")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _files(folder: Path, suffixes: frozenset[str], what: str) -> tuple[Path, ...]:
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder: it should hold the {what}.")
    files = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
    if not files:
        raise BadInput(f"{folder} holds no {what} ({', '.join(sorted(suffixes))}).")
    return tuple(sorted(files, key=_natural_order))


def _paired(pictures: tuple[Path, ...], depths: tuple[Path, ...]) -> tuple[Path, ...]:
    """Returns the depth file of each picture: by name where the names agree, else by order."""
    by_key = {_key(path): path for path in depths}
    keys = [_key(path) for path in pictures]
    matched = [key for key in keys if key in by_key]
    if len(matched) == len(pictures) == len(depths):
        return tuple(by_key[key] for key in keys)
    if len(pictures) != len(depths):
        raise BadInput(
            f"{pictures[0].parent} holds {len(pictures)} pictures, but {depths[0].parent} holds {len(depths)} depth "
            f"pictures: each picture needs one."
        )
    if matched:
        lonely = next(path for path in pictures if _key(path) not in by_key)
        raise BadInput(
            f"{lonely} has no depth picture of its name in {depths[0].parent}, though others have: rename it."
        )
    return depths


def _key(path: Path) -> str:
    return _KIND_WORDS.sub("", path.stem).lower()


def _natural_order(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.stem)]


def _calibration(folder: Path, given: Path | None, picture: Path) -> tuple[CameraModel | None, float]:
    """Returns the camera and the depth scale (units a metre)."""
    names = ("intrinsics.json", "camera_info.yaml")
    path = given or next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        return None, _MILLIMETRES
    if not path.is_file():
        raise BadInput(f"{path} does not exist: give an intrinsics.json, or camera_info_manager's YAML.")
    from clip_depth_ros.depth.camera import CameraModel

    if path.suffix.lower() != ".json":
        return CameraModel.from_yaml(path), _MILLIMETRES
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        fx, fy, cx, cy = (float(content[name]) for name in ("fx", "fy", "cx", "cy"))
        scale = float(content.get("depth_scale_units_per_metre", _MILLIMETRES))
        size = (int(content["width"]), int(content["height"])) if "width" in content and "height" in content else None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"{path} is not an intrinsics file ({type(error).__name__}: {error}): it needs fx, fy, cx, cy in pixels."
        ) from error
    if size is None:
        height, width = _read_picture(picture).shape[:2]
        size = (width, height)
    return CameraModel.pinhole(*size, fx, fy, cx, cy), scale
