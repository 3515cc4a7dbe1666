"""A replay as a Rerun recording (``.rrd``), to scrub through in its viewer; needs the optional package rerun-sdk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.depth.cloud import require_size
from clip_depth_ros.depth.geometry import points_from_depth
from clip_depth_ros.errors import BadInput
from clip_depth_ros.files import replacing, require_space

APPLICATION = "clip_depth_ros"
STAMP, FRAME = "stamp", "frame"
_JPEG_QUALITY = 90
_SPARE = 256 * 2**20  # far more than what waits to be written at any time


class RerunLog:
    """A new ``.rrd`` file with each picture, its depth, points and figures, on the time lines ``stamp`` and ``frame``.

    Entities: ``camera`` (pinhole) and ``camera/image``, ``depth/<head>``, ``depth/truth``, ``points/<head>`` in the
    optical frame, ``scores/<name>``. The file gets its name when the ``with`` block ends well; leaving it by an
    exception leaves nothing behind.

    Args:
        path: the file to write, ending in ``.rrd``; one that is there is replaced.
        heads: by name, in which range each head reads (metres), which scales its colours.
        points_stride: every n-th row and column becomes a point; 0 leaves points out.
        spare: bytes that must stay free on the disk. A full disk ends the SDK's writing thread, for which it then waits
            for ever, so that must not come to pass.

    Raises:
        BadInput: rerun-sdk is not installed, or the file cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        heads: Mapping[str, tuple[float, float]],
        points_stride: int = 2,
        spare: int = _SPARE,
    ) -> None:
        path = Path(path)
        if path.suffix != ".rrd":
            raise BadInput(f"{path} is to be a Rerun recording: give a name that ends in .rrd.")
        self._rerun = _import_rerun()
        self._ranges = dict(heads)
        self._stride = points_stride
        self._frame = 0
        self._camera: CameraModel | None = None
        self._path, self._spare = path, spare
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(path))
            self._recording = self._rerun.RecordingStream(APPLICATION)
            stack.callback(self._recording.disconnect)
            self._recording.save(str(temporary))
            self._closing = stack.pop_all()
        for entity in ("camera", "points"):
            self._recording.log(entity, self._rerun.ViewCoordinates.RDF, static=True)  # REP 103's optical frame

    def __enter__(self) -> RerunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self._closing:
                self._flush()
        else:
            self._closing.__exit__(kind, error, trace)

    def log(
        self,
        stamp_ns: int,
        rgb: np.ndarray,
        depths: Mapping[str, np.ndarray],
        truth: np.ndarray | None = None,
        camera: CameraModel | None = None,
        scores: Mapping[str, float | None] | None = None,
    ) -> None:
        """Adds one picture.

        Args:
            stamp_ns: its header stamp (nanoseconds).
            rgb: (H, W, 3) uint8; kept as JPEG.
            depths: by head, (H, W) float32 metres, NaN = no reading, which becomes 0 as Rerun has it.
            truth: the same measured; None where it was not.
            camera: of the picture; without one there are no points.
            scores: figures of this picture by name, ``space_clip/abs_rel``; None and NaN are left out.

        Raises:
            BadInput: depth is not of the camera's size, or the disk is nearly full.
        """
        require_space(self._path.parent, rgb.nbytes * (2 + len(depths)), self._spare)
        log = self._recording.log
        self._recording.set_time(STAMP, timestamp=np.datetime64(stamp_ns, "ns"))
        self._recording.set_time(FRAME, sequence=self._frame)
        self._frame += 1
        if camera is not None and camera.is_calibrated:
            if camera != self._camera:
                log("camera", self._pinhole(camera))
                self._camera = camera
        else:
            camera = None
        log("camera/image", self._rerun.Image(np.ascontiguousarray(rgb)).compress(jpeg_quality=_JPEG_QUALITY))
        for head, depth in depths.items():
            log(f"depth/{head}", self._depth_image(depth, head))
            if camera is not None and self._stride:
                log(f"points/{head}", self._points(depth, rgb, camera))
        if truth is not None:
            log("depth/truth", self._depth_image(truth, next(iter(self._ranges))))
        for name, value in (scores or {}).items():
            if value is not None and math.isfinite(value):
                log(f"scores/{name}", self._rerun.Scalars(float(value)))

    def _flush(self) -> None:
        try:
            self._recording.flush()
        except (OSError, RuntimeError, ValueError) as error:
            raise BadInput(f"{self._path} cannot be written ({error}): free some space.") from error

    def _pinhole(self, camera: CameraModel) -> Any:
        """Distortion, which Rerun does not know, is in the points all the same."""
        return self._rerun.Pinhole(image_from_camera=camera.intrinsics, width=camera.width, height=camera.height)

    def _depth_image(self, depth: np.ndarray, head: str) -> Any:
        values = np.nan_to_num(np.asarray(depth, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        return self._rerun.DepthImage(values, meter=1.0, depth_range=self._ranges[head])

    def _points(self, depth: np.ndarray, rgb: np.ndarray, camera: CameraModel) -> Any:
        require_size("depth", depth, camera.width, camera.height)
        grid = np.s_[:: self._stride, :: self._stride]
        points = points_from_depth(depth[grid], camera.rays()[grid]).reshape(-1, 3)
        seen = np.isfinite(points).all(axis=1)
        return self._rerun.Points3D(points[seen], colors=rgb[grid].reshape(-1, 3)[seen])


def _import_rerun() -> Any:
    try:
        return import_module("rerun")
    except ImportError as error:
        raise BadInput(
            "A Rerun recording needs the package rerun-sdk: pip install 'clip_depth_ros[rerun]', or leave --rerun out."
        ) from error
