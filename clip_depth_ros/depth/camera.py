"""Camera model of one calibrated camera: pinhole, and the three lens models that ROS names.

Pixels are (column, row) with the centre of the top left pixel at (0, 0). Camera axes follow REP 103's optical
frame: x right, y down, z forward, in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clip_depth_ros.depth.lens import LensModel, model_name
from clip_depth_ros.errors import BadInput

REPROJECTION_TOLERANCE = 0.05
"""Largest distance, in pixels along either axis, between a pixel and where its ray projects."""

_ROWS_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class CameraModel:
    """Size, intrinsics and distortion of one camera, as sensor_msgs/CameraInfo describes them.

    Attributes:
        width: columns, pixels.
        height: rows, pixels.
        intrinsics: (3, 3) float64, K of the image as it is delivered (distorted), pixels. K[0, 0] == 0 means that
            nobody calibrated the camera.
        distortion_model: "", "plumb_bob", "rational_polynomial" or "equidistant" ("fisheye" is a synonym).
        distortion: (N,) float64, D: 4 or 5, 8 or 12 or 14, 4 coefficients in the order of the models above; empty
            means no distortion.
        rectification: (3, 3) float64, R, from the camera's axes to the rectified ones.
        projection: (3, 4) float64, P of the rectified image, pixels (fourth column: pixels times metres). None, or
            all zeros as in an uncalibrated message, becomes [K | 0].

    Two models are equal when all of their numbers are. Arrays are copied and read-only.

    Raises:
        BadInput: a number that is not finite, a wrong shape, a distortion model that is unknown or has another
            number of coefficients, a size or focal length that no camera has.
    """

    width: int
    height: int
    intrinsics: np.ndarray
    distortion_model: str = ""
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(0))
    rectification: np.ndarray = field(default_factory=lambda: np.eye(3))
    projection: np.ndarray = None  # type: ignore[assignment]
    _lens: LensModel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        intrinsics = _matrix("intrinsics K", self.intrinsics, (3, 3))
        projection = np.zeros((3, 4)) if self.projection is None else _matrix("projection P", self.projection, (3, 4))
        values = {
            "intrinsics": intrinsics,
            "distortion_model": model_name(self.distortion_model),
            "distortion": _matrix("distortion D", self.distortion, (-1,)),
            "rectification": _matrix("rectification R", self.rectification, (3, 3)),
            "projection": projection if projection.any() else np.hstack([intrinsics, np.zeros((3, 1))]),
        }
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_lens", LensModel(self.distortion_model, self.distortion))
        if self.is_calibrated:
            self._check()

    def _check(self) -> None:
        k, p = self.intrinsics, self.projection
        if self.width < 1 or self.height < 1:
            raise BadInput(f"the camera's size {self.width}x{self.height} is not that of an image: set both above 0")
        if k[0, 0] < 0 or k[1, 1] <= 0 or k[1, 0] != 0 or not np.array_equal(k[2], [0, 0, 1]):
            raise BadInput(
                f"the intrinsics K {k.ravel().tolist()} are not of the form [fx s cx 0 fy cy 0 0 1] with positive "
                "focal lengths: calibrate the camera again"
            )
        if p[0, 0] <= 0 or p[1, 1] <= 0 or np.linalg.matrix_rank(self.rectification) < 3:
            raise BadInput(
                "the projection P has no positive focal lengths, or R is no rotation: calibrate the camera again"
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CameraModel) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    @cached_property
    def _content(self) -> tuple[Any, ...]:
        arrays = (self.intrinsics, self.distortion, self.rectification, self.projection)
        return (self.width, self.height, self.distortion_model, *(array.tobytes() for array in arrays))

    @classmethod
    def pinhole(cls, width: int, height: int, fx: float, fy: float, cx: float, cy: float) -> CameraModel:
        """Returns a camera without distortion; all arguments in pixels."""
        return cls(width, height, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64))

    @classmethod
    def from_yaml(cls, path: str | Path) -> CameraModel:
        """Reads the calibration file that camera_info_manager writes; BadInput names the file and the key at fault."""
        document = _read_mapping(Path(path))
        try:
            return cls(
                width=_yaml_size(document, "image_width"),
                height=_yaml_size(document, "image_height"),
                intrinsics=_yaml_matrix(document, "camera_matrix", (3, 3)),
                distortion_model=_yaml_text(document, "distortion_model"),
                distortion=_yaml_matrix(document, "distortion_coefficients", None).ravel(),
                rectification=_yaml_matrix(document, "rectification_matrix", (3, 3)),
                projection=_yaml_matrix(document, "projection_matrix", (3, 4)),
            )
        except BadInput as error:
            raise BadInput(f"camera calibration {path}: {error}") from error

    @property
    def is_calibrated(self) -> bool:
        """False where K[0, 0] is 0, the sign for "not calibrated" in sensor_msgs/CameraInfo."""
        return bool(self.intrinsics[0, 0] != 0)

    def scaled(self, width: int, height: int) -> CameraModel:
        """Returns the camera of the image resized to ``width`` x ``height`` pixels.

        Rows 0 and 1 of K and P are multiplied by the ratio of sizes, as image_pipeline's resize does, so that the
        result is what a ROS graph with such a node would publish. P[0, 3] (baseline) scales along.
        """
        across, down = width / self.width, height / self.height
        ratios = np.array([[across], [down], [1.0]])
        return replace(
            self, width=width, height=height, intrinsics=self.intrinsics * ratios, projection=self.projection * ratios
        )

    def rays(self) -> np.ndarray:
        """Returns (H, W, 3) float32, for each pixel the point at z = 1 that it sees; computed once, read-only.

        All three numbers are NaN where there is no such point: the ray is 90 degrees or more off the optical axis
        (no depth along z), the pixel lies outside the circle that the lens model reaches while it still grows, or
        the ray does not project back to within ``REPROJECTION_TOLERANCE`` of its pixel.

        Raises:
            BadInput: the camera is not calibrated.
        """
        return self._rays

    @cached_property
    def _rays(self) -> np.ndarray:
        self._require_calibration()
        rays = np.empty((self.height, self.width, 3), np.float32)
        for top in range(0, self.height, _ROWS_AT_ONCE):
            block = rays[top : top + _ROWS_AT_ONCE].reshape(-1, 3)
            pixels = _pixel_grid(range(top, min(top + _ROWS_AT_ONCE, self.height)), self.width)
            lens = (pixels - self.intrinsics[:2, 2]) @ np.linalg.inv(self.intrinsics[:2, :2]).T
            block[:, :2] = self._lens.undistort(lens)
            block[:, 2] = 1
            error = np.abs(self.project(block) - pixels).max(axis=1)
            block[~(error < REPROJECTION_TOLERANCE)] = np.nan
        rays.setflags(write=False)
        return rays

    def project(self, points: np.ndarray) -> np.ndarray:
        """Projects (N, 3) points in metres, optical frame, to (N, 2) float64 pixels of the distorted image.

        NaN for points with z <= 0 and for those beyond the angle up to which the lens model grows: past it, a model
        folds the world back into the image.
        """
        self._require_calibration()
        points = np.asarray(points, np.float64).reshape(-1, 3)
        with np.errstate(divide="ignore", invalid="ignore"):
            plane = np.where(points[:, 2:] > 0, points[:, :2] / points[:, 2:], np.nan)
        return self._lens.distort(plane) @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]

    def rectify_maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns two (H, W) float32 maps (columns, rows) for ``cv2.remap``: the image that P describes.

        Pixels that the camera does not see are at (-1, -1): with a constant border they take the border's value.
        Computed once.
        """
        return self._maps

    @cached_property
    def _maps(self) -> tuple[np.ndarray, np.ndarray]:
        self._require_calibration()
        maps = np.empty((2, self.height, self.width), np.float32)
        to_camera = np.linalg.inv(self.projection[:, :3] @ self.rectification)
        for row in range(0, self.height, _ROWS_AT_ONCE):
            rows = range(row, min(row + _ROWS_AT_ONCE, self.height))
            pixels = _pixel_grid(rows, self.width)
            source = self.project(np.column_stack([pixels, np.ones(len(pixels))]) @ to_camera.T)
            maps[:, rows.start : rows.stop] = np.where(np.isfinite(source), source, -1).T.reshape(2, -1, self.width)
        return maps[0], maps[1]

    def rectified(self) -> CameraModel:
        """Returns the pinhole camera of the rectified image: K from P, P kept, no distortion, no rotation."""
        self._require_calibration()
        return CameraModel(self.width, self.height, self.projection[:, :3], projection=self.projection)

    def _require_calibration(self) -> None:
        if not self.is_calibrated:
            raise BadInput("the camera is not calibrated (K[0] is 0): calibrate it and set its camera_info")


def _pixel_grid(rows: range, width: int) -> np.ndarray:
    """(N, 2) float64 pixels (column, row) of some rows, row by row."""
    columns, lines = np.meshgrid(np.arange(width), np.asarray(rows))
    return np.column_stack([columns.ravel(), lines.ravel()]).astype(np.float64)


def _matrix(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A float64 copy of ``values`` in ``shape``, or BadInput that names it."""
    try:
        matrix = np.array(values, np.float64).reshape(shape)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{name} is not a matrix of {shape} numbers: calibrate the camera again") from error
    if not np.isfinite(matrix).all():
        raise BadInput(f"{name} holds NaN or infinity: calibrate the camera again")
    return matrix


def _read_mapping(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not YAML"
        raise BadInput(f"cannot read the camera calibration {path}: {reason}") from error
    if not isinstance(document, dict):
        raise BadInput(f"the camera calibration {path} holds no keys: write it with camera_calibration or by hand")
    return document


def _yaml_value(document: dict[str, Any], key: str) -> Any:
    if key not in document:
        raise BadInput(f"key {key!r} is missing: add it as camera_info_manager writes it")
    return document[key]


def _yaml_size(document: dict[str, Any], key: str) -> int:
    value = _yaml_value(document, key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(f"key {key!r} is {value!r}: give a whole number of pixels above 0")
    return value


def _yaml_text(document: dict[str, Any], key: str) -> str:
    value = _yaml_value(document, key)
    if not isinstance(value, str):
        raise BadInput(f"key {key!r} is {value!r}: give the name of a distortion model")
    return value


def _yaml_matrix(document: dict[str, Any], key: str, shape: tuple[int, int] | None) -> np.ndarray:
    """The matrix under ``key``; of any size where ``shape`` is None."""
    value = _yaml_value(document, key)
    try:
        matrix = np.array(value["data"], np.float64).reshape(int(value["rows"]), int(value["cols"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"key {key!r} is not a mapping of rows, cols and as many numbers in data") from error
    if shape is not None and matrix.shape != shape:
        rows, columns = matrix.shape
        raise BadInput(f"key {key!r} is {rows}x{columns}: it must be {shape[0]}x{shape[1]}")
    return _matrix(f"key {key!r}", matrix, matrix.shape)
