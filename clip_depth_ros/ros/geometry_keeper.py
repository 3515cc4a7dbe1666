"""What a calibration costs once, seconds for a large image: computed aside, so that no frame waits for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from clip_depth_ros.depth.geometry import CameraModel
from clip_depth_ros.errors import BadInput
from clip_depth_ros.ros.calibration import Rectifier

_SMALL = 100_000  # pixels whose rays are there in milliseconds: the first frame waits for them, at most this long:
_PATIENCE = 0.2  # seconds


@dataclass(frozen=True)
class Geometry:
    """A camera whose rays are there, and what rectifies its images (None: they stay as they are)."""

    camera: CameraModel
    rectifier: Rectifier | None


class GeometryKeeper:
    """Keeps the geometry of one camera's latest calibration.

    Attributes:
        problem: why there is none, as a sentence; empty when there is, or when nobody asked yet.
    """

    def __init__(self, rectify: bool) -> None:
        """``rectify``: prepare to undistort the images, and the rays of the undistorted ones."""
        self.problem = ""
        self._rectify = rectify
        self._source: CameraModel | None = None
        self._geometry: Geometry | None = None
        self._thread: threading.Thread | None = None

    def get(self, camera: CameraModel) -> Geometry | None:
        """Returns the geometry of ``camera``, or None while it is being computed (asking for it starts that)."""
        if self._source is not camera:
            if self._thread is not None and self._thread.is_alive():
                return None
            self._source, self._geometry = camera, None
            self.problem = "the rays of the new calibration are being computed"
            self._thread = threading.Thread(target=self._compute, args=(camera,), name="clip_depth_geometry")
            self._thread.start()
            if camera.width * camera.height <= _SMALL:
                self._thread.join(_PATIENCE)
        return self._geometry

    def close(self) -> None:
        """Waits for what is being computed: no thread may run on when the interpreter ends."""
        if self._thread is not None:
            self._thread.join()

    def _compute(self, camera: CameraModel) -> None:
        try:
            rectifier = Rectifier(camera) if self._rectify else None
            shown = camera if rectifier is None else rectifier.camera
            shown.rays()  # the model keeps them
        except (BadInput, ArithmeticError, ValueError, MemoryError, np.linalg.LinAlgError) as error:
            self.problem = f"the calibration cannot be used ({error})"
            return
        self._geometry, self.problem = Geometry(shown, rectifier), ""
