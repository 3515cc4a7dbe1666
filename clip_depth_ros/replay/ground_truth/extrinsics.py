"""Where the depth sensor is against the camera: from a file, or from the recording's transforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.ground_truth.transforms import TransformBuffer, inverse, rigid

_TOLERANCE = 1e-3  # how far a written-out rotation may be from a rotation: files round to three or four digits


def read_extrinsics(path: Path) -> np.ndarray:
    """Reads the transform that takes points of the sensor into the camera's optical frame (REP 103: x right, y down).

    Args:
        path: YAML or JSON with ``translation: [x, y, z]`` in metres and ``rotation: [x, y, z, w]`` (quaternion), or
            with ``matrix``, 4x4 row by row.

    Returns:
        ``(4, 4)`` float64.

    Raises:
        BadInput: the file cannot be read, lacks a key, or holds no rigid transform.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is neither YAML nor JSON"
        raise BadInput(f"The extrinsics {path} cannot be read: {reason}.") from error
    if not isinstance(content, dict) or not ("matrix" in content or {"translation", "rotation"} <= content.keys()):
        raise BadInput(f"The extrinsics {path} need translation and rotation, or a 4x4 matrix.")
    if "matrix" in content:
        return _from_matrix(path, _numbers(path, content, "matrix", 16).reshape(4, 4))
    quaternion = _numbers(path, content, "rotation", 4)
    length = float(np.linalg.norm(quaternion))
    if abs(length - 1) > 10 * _TOLERANCE:
        raise BadInput(f"The extrinsics {path}: rotation has length {length:.4f}, a quaternion x, y, z, w has 1.")
    return rigid(_numbers(path, content, "translation", 3), Rotation.from_quat(quaternion).as_matrix())


def _numbers(path: Path, content: dict[str, object], key: str, count: int) -> np.ndarray:
    try:
        values = np.array(content[key], np.float64).ravel()
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.size != count or not np.isfinite(values).all():
        raise BadInput(f"The extrinsics {path}: {key} must be {count} finite numbers.")
    return values


def _from_matrix(path: Path, matrix: np.ndarray) -> np.ndarray:
    rotation = matrix[:3, :3]
    if not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise BadInput(f"The extrinsics {path}: the last row of matrix is not 0 0 0 1.")
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _TOLERANCE or np.linalg.det(rotation) < 0:
        raise BadInput(
            f"The extrinsics {path}: the upper left 3x3 of matrix is no rotation: its rows must be at right angles, "
            "of length 1 and right-handed."
        )
    return rigid(matrix[:3, 3], Rotation.from_matrix(rotation).as_matrix())


class Placement:
    """Takes points that a sensor measured at one time to the frame that the camera had at another.

    Without a fixed frame the two are taken to be still between the two times. With one (``odom``, ``map``) the motion
    between them is undone: sensor at its time -> fixed frame -> camera at the picture's time.

    Args:
        buffer: the recording's transforms.
        camera: the camera's optical frame.
        sensor: the frame of the measurements.
        extrinsics: camera <- sensor ``(4, 4)``, instead of the recording's; None takes the recording's.
        fixed: name of the fixed frame, or empty.

    Raises:
        BadInput: the transforms needed are not in the recording.
    """

    def __init__(
        self, buffer: TransformBuffer, camera: str, sensor: str, extrinsics: np.ndarray | None = None, fixed: str = ""
    ) -> None:
        self._buffer, self._camera, self._sensor = buffer, camera, sensor
        self._extrinsics, self._fixed = extrinsics, fixed
        if extrinsics is None:
            buffer.require_connection(camera, sensor)
        # With given extrinsics, one of the two frames is enough to know how the pair moved.
        self._moving = sensor if buffer.has(sensor) or not buffer.has(camera) else camera
        if fixed:
            buffer.require_connection(fixed, self._moving)
            if extrinsics is None:
                buffer.require_connection(fixed, camera)

    def __call__(self, camera_ns: int, sensor_ns: int) -> np.ndarray:
        """Returns camera at ``camera_ns`` <- sensor at ``sensor_ns``, ``(4, 4)``.

        Raises:
            NoTransformError: the recording has no transforms for one of the times.
        """
        look = self._buffer.lookup
        if not self._fixed:
            return look(self._camera, self._sensor, camera_ns) if self._extrinsics is None else self._extrinsics
        if self._extrinsics is None:
            return inverse(look(self._fixed, self._camera, camera_ns)) @ look(self._fixed, self._sensor, sensor_ns)
        motion = inverse(look(self._fixed, self._moving, camera_ns)) @ look(self._fixed, self._moving, sensor_ns)
        return self._extrinsics @ motion if self._moving == self._sensor else motion @ self._extrinsics
