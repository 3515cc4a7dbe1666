"""An RGB-D folder, or a folder of pictures with their calibration, becomes a ROS 2 bag: `clip-depth make-bag`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_depth_ros.depth.masking import millimetres
from clip_depth_ros.errors import BadInput
from clip_depth_ros.progress import track
from clip_depth_ros.replay.message_maker import MessageMaker
from clip_depth_ros.replay.rgbd_folder import RgbdFolder
from clip_depth_ros.replay.writer import BagWriter

if TYPE_CHECKING:
    from clip_depth_ros.depth.camera import CameraModel

FRAME_ID = "camera_optical_frame"  # z forward, x right, y down: REP 103's suffix for it
MAP_FRAME_ID = "map"
TRANSFORMS = "/tf"
RATE_HZ = 10.0
START_TIME_S = 1_700_000_000.0  # a fixed moment, so that the same folder gives the same stamps
DEPTH_ENCODINGS = ("16UC1", "32FC1")
_LAST_NS = 2**31 * 1_000_000_000  # builtin_interfaces/Time counts seconds in 32 bits
_NAMESPACE = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True)
class MadeBag:
    """What :func:`make_bag` wrote.

    Attributes:
        path: the bag's folder.
        frames: pictures in it.
        topics: which it has.
        duration_s: from its first picture to one period after its last (seconds).
        notes: sentences about what was chosen and left out.
    """

    path: Path
    frames: int
    topics: tuple[str, ...]
    duration_s: float
    notes: tuple[str, ...] = ()


def make_bag(
    folder: Path | str | None,
    output: Path | str,
    rate_hz: float | None = None,
    *,
    rgb: Path | str | None = None,
    depth: Path | str | None = None,
    intrinsics: Path | str | None = None,
    depth_intrinsics: Path | str | None = None,
    poses: Path | str | None = None,
    depth_scale: float | None = None,
    depth_encoding: str = "16UC1",
    start_time_s: float | None = None,
    namespace: str = "/camera",
    overwrite: bool = False,
) -> MadeBag:
    """Writes ``<namespace>/image`` (rgb8), ``camera_info``, ``depth/image`` (REP 118) and ``/tf`` into a new bag.

    Args:
        folder: a data set in one of three layouts. Plain: ``rgb/`` or ``color/`` (or the pictures themselves),
            ``depth/``, ``intrinsics.json`` or ``camera_info.yaml``, and poses as ``pose/*.txt``, ``poses.txt`` or
            ``poses_selected.txt``; all but the pictures are optional. TUM RGB-D: ``rgb.txt``, ``depth.txt``,
            ``groundtruth.txt``. ScanNet's export: ``color/``, ``depth/``, ``pose/``, ``intrinsic/``. None where
            ``rgb`` says where the pictures are.
        output: the bag folder to make.
        rate_hz: frames a second: frame ``i`` is stamped ``start + i / rate_hz``. None keeps the data set's own time
            stamps, of pictures and depth, where it has them; elsewhere it is 10 Hz.
        rgb, depth, intrinsics, poses: where these are, when not where ``folder`` is expected to have them; see
            :func:`clip_depth_ros.replay.intrinsics.read_calibration` and
            :func:`clip_depth_ros.replay.poses.read_poses` for the formats.
        depth_intrinsics: calibration of depth pictures that are not registered to the pictures, but taken from the
            same place in the same direction: their readings are put on the pictures' pixels.
        depth_scale: units a metre of 16-bit depth pictures; overrides the JSON's. Float pictures are metres.
        depth_encoding: ``16UC1`` (millimetres, 0 = no reading or beyond 65.535 m) or ``32FC1`` (metres, NaN = none).
        start_time_s: header stamp and receive time of the first frame (seconds since the epoch); None is that of the
            data set's own time stamps where they are kept, else a fixed moment in 2023.
        namespace: what the topics begin with.
        overwrite: replace a bag that is there.

    Raises:
        BadInput: a folder or file is missing or cannot be read, the numbers of pictures and depths differ, or their
            sizes differ from each other or from the calibration's.
    """
    if rate_hz is not None and not (math.isfinite(rate_hz) and rate_hz > 0.0):
        raise BadInput(f"The rate is {rate_hz} Hz: give a number above 0.")
    if depth_encoding not in DEPTH_ENCODINGS:
        raise BadInput(f"The depth encoding is {depth_encoding}: give one of {', '.join(DEPTH_ENCODINGS)}.")
    prefix = "/" + namespace.strip("/") if namespace.strip("/") else ""
    if not _NAMESPACE.fullmatch(prefix):
        raise BadInput(f"The namespace {namespace!r} is no ROS name: use letters, digits, _ and /, such as /camera.")
    source = RgbdFolder.find(
        folder,
        rgb=rgb,
        depth=depth,
        intrinsics=intrinsics,
        depth_intrinsics=depth_intrinsics,
        poses=poses,
        depth_scale=depth_scale,
    )
    times, depth_times, duration_s = _times(source, rate_hz, start_time_s)
    with BagWriter(output, overwrite) as writer:
        frames = _FrameWriter(writer, prefix, depth_encoding, source.camera)
        for index in track(range(len(source)), f"writing {Path(output).name}", total=len(source)):
            if source.poses:
                frames.write_pose(times[index], source.poses[index])
            frames.write(times[index], depth_times[index], *source.load(index))
    return MadeBag(Path(output), len(source), tuple(frames.topics), duration_s, source.notes)


def _times(source: RgbdFolder, rate_hz: float | None, start_time_s: float | None) -> tuple[list[int], list[int], float]:
    """Returns the stamps of pictures and depth pictures (nanoseconds), and the recording's duration (seconds)."""
    count = len(source)
    start_s = START_TIME_S if start_time_s is None else start_time_s
    if not 0.0 <= start_s < _LAST_NS / 1e9:
        raise BadInput(f"The start time is {start_s} s: give seconds since 1970, from 0 to below 2^31.")
    start_ns = round(start_s * 1e9)
    if source.stamps_ns and rate_hz is None:
        shift = 0 if start_time_s is None else start_ns - source.stamps_ns[0]
        times = [stamp + shift for stamp in source.stamps_ns]
        own = source.depth_stamps_ns or (None,) * count
        depth_times = [time if stamp is None else stamp + shift for time, stamp in zip(times, own)]
        duration_s = (times[-1] - times[0]) / 1e9 * count / max(1, count - 1)
    else:
        rate_hz = RATE_HZ if rate_hz is None else rate_hz
        duration_s = count / rate_hz
        if not start_s + duration_s < _LAST_NS / 1e9:
            raise BadInput(f"At {rate_hz} Hz the last of {count} pictures is beyond the year 2038: give a higher rate.")
        times = depth_times = [start_ns + round(index * 1e9 / rate_hz) for index in range(count)]
    if min(times[0], *depth_times) < 0 or max(times[-1], *depth_times) >= _LAST_NS:
        raise BadInput(
            f"The pictures' time stamps go from {times[0] / 1e9} to {times[-1] / 1e9} s: ROS has 0 to 2^31, so give "
            "--rate."
        )
    return times, depth_times, duration_s


class _FrameWriter:
    """Writes one camera's frames as messages."""

    def __init__(self, writer: BagWriter, namespace: str, depth_encoding: str, camera: CameraModel | None) -> None:
        self._writer = writer
        self._maker = MessageMaker(writer.typestore.types)
        self._namespace = namespace
        self._depth_encoding = depth_encoding
        self._camera = camera
        self.topics: dict[str, None] = {}

    def write(self, time_ns: int, depth_time_ns: int, picture: np.ndarray, depth: np.ndarray | None) -> None:
        """Adds one frame: ``picture`` (H, W, 3) uint8 RGB, ``depth`` (H, W) float32 metres with NaN = no reading."""
        header = self._maker.header(time_ns, FRAME_ID)
        if self._camera is not None:
            self._add("camera_info", time_ns, self._maker.camera_info(header, self._camera))
        self._add("image", time_ns, self._maker.image(header, "rgb8", picture))
        if depth is not None:
            data = millimetres(depth) if self._depth_encoding == "16UC1" else depth
            header = self._maker.header(depth_time_ns, FRAME_ID)
            self._add("depth/image", depth_time_ns, self._maker.image(header, self._depth_encoding, data))

    def write_pose(self, time_ns: int, pose: np.ndarray | None) -> None:
        """Adds where the camera was: ``pose`` (4, 4) camera-to-world in metres, None where unknown."""
        if pose is None:
            return
        self.topics[TRANSFORMS] = None
        message = self._maker.transform(self._maker.header(time_ns, MAP_FRAME_ID), FRAME_ID, pose)
        self._writer.write_message(TRANSFORMS, time_ns, message)

    def _add(self, name: str, time_ns: int, message: Any) -> None:
        topic = f"{self._namespace}/{name}"
        self.topics[topic] = None
        self._writer.write_message(topic, time_ns, message)
