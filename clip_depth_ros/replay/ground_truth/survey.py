"""What is known about a recording before a picture is decoded: stamps, calibrations, transforms."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.camera_info import camera_from_message
from clip_depth_ros.progress import track
from clip_depth_ros.replay.ground_truth.transforms import TransformBuffer
from clip_depth_ros.replay.messages import CAMERA_INFO, BagMessage, header_stamp_ns
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.topics import candidates, listing

_AFTER_STAMP = 12  # bytes of encapsulation and stamp; what follows is equal while the calibration is


@dataclass
class CameraTrack:
    """A camera's calibration over time: usually one, more when a lens zooms or a driver crops.

    Attributes:
        source: topic or file.
        times_ns: from when each holds, rising.
        cameras: calibrated ones only, as many.
        frame: the camera's frame, empty where a file does not say.
    """

    source: str
    times_ns: list[int] = field(default_factory=list)
    cameras: list[CameraModel] = field(default_factory=list)
    frame: str = ""

    @classmethod
    def of_file(cls, path: Path) -> CameraTrack:
        """Reads camera_info_manager's YAML; BadInput where that cannot be done, or nobody calibrated the camera."""
        camera = CameraModel.from_yaml(path)
        if not camera.is_calibrated:
            raise BadInput(f"{path} is of a camera that nobody calibrated (K[0] is 0): calibrate it.")
        return cls(str(path), [0], [camera])

    def rectified(self) -> CameraTrack:
        """Returns the calibrations of the rectified pictures: P instead of K and D."""
        return replace(self, cameras=[camera.rectified() for camera in self.cameras])

    def at(self, time_ns: int) -> CameraModel:
        """Returns the calibration of a time: the last one before it, or the first of all. There must be one."""
        return self.cameras[max(0, bisect_right(self.times_ns, time_ns) - 1)]


@dataclass
class Survey:
    """What one pass over a recording gives.

    Attributes:
        stamps: of each topic of images or clouds, ``(N,)`` int64 header stamps in nanoseconds, rising, each once.
        repeated: of each such topic, how many messages have a stamp that another has too.
        cameras: of each camera_info topic.
        transforms: all of the recording.
    """

    stamps: dict[str, np.ndarray]
    repeated: dict[str, int]
    cameras: dict[str, CameraTrack]
    transforms: TransformBuffer


def survey(
    reader: BagReader, stamped: Collection[str], infos: Collection[str], transforms: Mapping[str, bool]
) -> Survey:
    """Reads the stamps of the topics ``stamped``, the calibrations of ``infos`` and the ``transforms``.

    Args:
        reader: the recording.
        stamped: topics of images or clouds; their messages are not decoded.
        infos: topics of camera_info.
        transforms: topics of TFMessage, and whether each is static.

    Raises:
        BadInput: a message is damaged, or all stamps of a topic are the same.
    """
    times: dict[str, list[int]] = {name: [] for name in stamped}
    cameras = {name: CameraTrack(name) for name in infos}
    known: dict[str, bytes] = {}
    buffer = TransformBuffer()
    wanted = {*stamped, *infos, *transforms}
    total = sum(reader.topics[name].count for name in wanted)
    for message in track(reader.messages(wanted), f"looking through {reader.path.name}", total):
        if message.topic in transforms:
            buffer.add_message(reader.decode(message), transforms[message.topic])
        elif message.topic in cameras:
            if known.get(message.topic) != message.data[_AFTER_STAMP:]:
                known[message.topic] = message.data[_AFTER_STAMP:]
                _add_camera(cameras[message.topic], stamp_ns(message), reader.decode(message))
        else:
            times[message.topic].append(stamp_ns(message))
    stamps = {name: np.unique(np.array(values, np.int64)) for name, values in times.items()}
    for name, values in stamps.items():
        if len(values) < len(times[name]) and len(values) < 2:
            raise BadInput(f"All {len(times[name])} messages on {name} have one header stamp: mend its driver's clock.")
    repeated = {name: len(times[name]) - len(values) for name, values in stamps.items()}
    return Survey(stamps, repeated, cameras, buffer)


def _add_camera(track: CameraTrack, time_ns: int, message: Any) -> None:
    camera = camera_from_message(message)
    if camera.is_calibrated:
        track.times_ns.append(time_ns)
        track.cameras.append(camera)
        track.frame = message.header.frame_id


def stamp_ns(message: BagMessage) -> int:
    """Returns a message's header stamp in nanoseconds; BadInput when it is too short to have one."""
    try:
        return header_stamp_ns(message.data)
    except ValueError as error:
        raise BadInput(f"A message on {message.topic} is cut off ({error}): record it again.") from error


def first_message(reader: BagReader, topic: str) -> Any:
    """Returns the first message of a topic, decoded; BadInput when none can be read."""
    message = next(reader.messages([topic]), None)
    if message is None:
        raise BadInput(f"{topic} in {reader.path} has no message that can be read: record it again.")
    return reader.decode(message)


def camera_info_topic(reader: BagReader, given: str, sibling: str) -> str:
    """Returns the topic of a camera's calibration: the one named, else the one beside the images, or an empty string.

    Raises:
        BadInput: ``given`` is neither a topic of that type nor a file; the sentence lists the topics.
    """
    if not given:
        return sibling
    if given in reader.topics:
        return reader.require_topic("camera_info", given).name
    if Path(given).is_file():
        return ""
    held = listing(candidates(reader, "camera_info")) or f"none of type {CAMERA_INFO}"
    raise BadInput(f"--camera-info {given} is neither a file nor a topic of {reader.path}, which has {held}.")
