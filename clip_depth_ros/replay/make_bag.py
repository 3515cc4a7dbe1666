"""An RGB-D folder, or a folder of pictures with their calibration, becomes a ROS 2 bag: `clip-depth make-bag`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_depth_ros.depth.masking import millimetres
from clip_depth_ros.errors import BadInput
from clip_depth_ros.progress import track
from clip_depth_ros.replay.rgbd_folder import RgbdFolder
from clip_depth_ros.replay.writer import BagWriter

if TYPE_CHECKING:
    from clip_depth_ros.depth.camera import CameraModel

FRAME_ID = "camera_optical_frame"  # z forward, x right, y down: REP 103's suffix for it
START_TIME_S = 1_700_000_000.0  # a fixed moment, so that the same folder gives the same stamps
DEPTH_ENCODINGS = ("16UC1", "32FC1")


@dataclass(frozen=True)
class MadeBag:
    """What :func:`make_bag` wrote: the bag's folder, its frames, and which topics they have."""

    path: Path
    frames: int
    topics: tuple[str, ...]


def make_bag(
    folder: Path | str,
    output: Path | str,
    rate_hz: float = 10.0,
    *,
    rgb: Path | str | None = None,
    depth: Path | str | None = None,
    intrinsics: Path | str | None = None,
    depth_scale: float | None = None,
    depth_encoding: str = "16UC1",
    start_time_s: float = START_TIME_S,
    namespace: str = "/camera",
    overwrite: bool = False,
) -> MadeBag:
    """Writes ``<namespace>/image`` (rgb8), ``camera_info`` and ``depth/image`` (REP 118) into a new bag.

    Args:
        folder: holds ``rgb/`` (or the pictures themselves), ``depth/`` and ``intrinsics.json`` or ``camera_info.yaml``;
            the last two are optional. The JSON has ``fx fy cx cy`` in pixels and ``depth_scale_units_per_metre``, the
            YAML is camera_info_manager's.
        output: the bag folder to make.
        rate_hz: frames a second; frame ``i`` is stamped ``start_time_s + i / rate_hz``.
        rgb, depth, intrinsics: where these are, when not where ``folder`` is expected to have them.
        depth_scale: units a metre of 16-bit depth pictures; overrides the JSON's. Float pictures are metres.
        depth_encoding: ``16UC1`` (millimetres, 0 = no reading or beyond 65.535 m) or ``32FC1`` (metres, NaN = none).
        start_time_s: header stamp and receive time of the first frame (seconds since the epoch).
        namespace: what the topics begin with.
        overwrite: replace a bag that is there.

    Raises:
        BadInput: a folder or file is missing or cannot be read, the numbers of pictures and depths differ, or their
            sizes differ from each other or from the calibration's.
    """
    if not (math.isfinite(rate_hz) and rate_hz > 0.0):
        raise BadInput(f"The rate is {rate_hz} Hz: give a number above 0.")
    if depth_encoding not in DEPTH_ENCODINGS:
        raise BadInput(f"The depth encoding is {depth_encoding}: give one of {', '.join(DEPTH_ENCODINGS)}.")
    source = RgbdFolder.find(folder, rgb=rgb, depth=depth, intrinsics=intrinsics, depth_scale=depth_scale)
    start_ns = round(start_time_s * 1e9)
    with BagWriter(output, overwrite) as writer:
        frames = _FrameWriter(writer, namespace.rstrip("/"), depth_encoding, source.camera)
        for index in track(range(len(source)), f"writing {Path(output).name}", total=len(source)):
            frames.write(start_ns + round(index * 1e9 / rate_hz), *source.load(index))
    return MadeBag(Path(output), len(source), tuple(frames.topics))


class _FrameWriter:
    """Writes one camera's frames as messages."""

    def __init__(self, writer: BagWriter, namespace: str, depth_encoding: str, camera: CameraModel | None) -> None:
        self._writer = writer
        self._types = writer.typestore.types
        self._namespace = namespace
        self._depth_encoding = depth_encoding
        self._camera = camera
        self.topics: dict[str, None] = {}

    def write(self, time_ns: int, picture: np.ndarray, depth: np.ndarray | None) -> None:
        """Adds one frame: ``picture`` (H, W, 3) uint8 RGB, ``depth`` (H, W) float32 metres with NaN = no reading."""
        header = self._header(time_ns)
        self._add("camera_info", time_ns, self._camera_info(header) if self._camera is not None else None)
        self._add("image", time_ns, self._image(header, "rgb8", picture))
        if depth is not None:
            data = millimetres(depth) if self._depth_encoding == "16UC1" else depth
            self._add("depth/image", time_ns, self._image(header, self._depth_encoding, data))

    def _add(self, name: str, time_ns: int, message: Any) -> None:
        if message is not None:
            topic = f"{self._namespace}/{name}"
            self.topics[topic] = None
            self._writer.write_message(topic, time_ns, message)

    def _header(self, time_ns: int) -> Any:
        seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
        stamp = self._types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
        return self._types["std_msgs/msg/Header"](stamp=stamp, frame_id=FRAME_ID)

    def _image(self, header: Any, encoding: str, pixels: np.ndarray) -> Any:
        height, width = pixels.shape[:2]
        pixels = np.ascontiguousarray(pixels)
        return self._types["sensor_msgs/msg/Image"](
            header=header,
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=pixels.view(np.uint8).reshape(-1),
        )

    def _camera_info(self, header: Any) -> Any:
        camera = self._camera
        assert camera is not None
        whole_image = self._types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._types["sensor_msgs/msg/CameraInfo"](
            header=header,
            height=camera.height,
            width=camera.width,
            distortion_model=camera.distortion_model or "plumb_bob",
            d=np.asarray(camera.distortion if camera.distortion.size else np.zeros(5), np.float64),
            k=np.asarray(camera.intrinsics, np.float64).reshape(-1),
            r=np.asarray(camera.rectification, np.float64).reshape(-1),
            p=np.asarray(camera.projection, np.float64).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=whole_image,
        )
