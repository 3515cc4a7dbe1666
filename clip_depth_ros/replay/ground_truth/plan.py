"""What will be taken from a recording: which pictures with which measurements, and how those become depth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.errors import BadInput
from clip_depth_ros.messages.camera_info import matching_camera
from clip_depth_ros.replay.ground_truth import selection
from clip_depth_ros.replay.ground_truth.arrays import read_depth, read_picture
from clip_depth_ros.replay.ground_truth.extrinsics import Placement, read_extrinsics
from clip_depth_ros.replay.ground_truth.options import TruthOptions
from clip_depth_ros.replay.ground_truth.pairing import pair, spaced
from clip_depth_ros.replay.ground_truth.survey import (
    CameraTrack,
    Survey,
    camera_info_topic,
    first_message,
    survey,
)
from clip_depth_ros.replay.ground_truth.transforms import frame_name
from clip_depth_ros.replay.ground_truth.truth import (
    LidarDepth,
    RegisteredDepth,
    ReprojectedDepth,
    Truth,
    View,
    is_registered,
    same_aspect,
)
from clip_depth_ros.replay.reader import BagReader

DEPTH_TOLERANCE_S = 0.02
LIDAR_TOLERANCE_S = 0.05


@dataclass(frozen=True)
class Planned:
    """One sample to be: header stamps (nanoseconds) of its picture and of its measurements."""

    image_ns: int
    truth_ns: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that extraction needs.

    Attributes:
        topics: the topics to read.
        samples: in the order of their times.
        cameras: of the pictures; None where nobody knows the camera.
        encoding: what raw pictures hold, where they say something wrong.
        truth: makes depth; None where nothing was measured, or nobody wants it.
        tolerance_s: longest time between a picture and its measurement (seconds).
        size: width and height of the first picture in pixels.
        measured: messages on the topic of the truth.
        notes: sentences about what was chosen and what was left out.
    """

    topics: selection.Selection
    samples: list[Planned]
    cameras: CameraTrack | None
    encoding: str
    truth: Truth | None
    tolerance_s: float
    size: tuple[int, int]
    measured: int
    notes: list[str]

    def read_picture(self, message: Any) -> np.ndarray:
        """Returns a decoded image message as ``(H, W, 3)`` uint8 RGB; BadInput where it is damaged."""
        return read_picture(message, self.encoding)

    def view(self, time_ns: int, width: int, height: int) -> View:
        """Returns what the truth needs to know about a picture; BadInput where its calibration is of another size."""
        return View(time_ns, width, height, _camera(self.cameras, time_ns, width, height))


def make_plan(reader: BagReader, options: TruthOptions, truth: selection.TruthUse = "needed") -> Plan:
    """Looks a recording through and says what to take from it.

    Args:
        reader: the recording.
        options: what the user asked for.
        truth: whether a recording without depth images and point clouds is an error (``needed``), or will do
            (``wanted``), or nobody looks for them (``unwanted``).

    Raises:
        BadInput: something that is needed is missing, or does not fit together.
    """
    topics = selection.select(reader, options.image, options.depth, options.lidar, truth)
    selection.require_pictures(reader, topics.image)
    info = camera_info_topic(reader, options.camera_info, selection.sibling_camera_info(reader, topics.image))
    beside_depth = "" if topics.lidar or not topics.truth else selection.sibling_camera_info(reader, topics.truth)
    depth_info = camera_info_topic(reader, options.depth_camera_info, beside_depth)
    stamped = (topics.image, topics.truth) if topics.truth else ()
    needed = {name for name in (info, depth_info) if name}
    known = survey(reader, stamped, needed, selection.transform_topics(reader) if stamped else {})
    cameras = _track(options.camera_info, info, known)
    if cameras is not None and (options.rectified or selection.is_rectified(topics.image)):
        cameras = cameras.rectified()

    picture = first_message(reader, topics.image)
    height, width = read_picture(picture, options.encoding_override).shape[:2]
    stamp = picture.header.stamp
    time_ns = int(known.stamps[topics.image][0]) if stamped else stamp.sec * 1_000_000_000 + stamp.nanosec
    view = View(time_ns, width, height, _camera(cameras, time_ns, width, height))
    notes = []
    if view.camera is None:
        notes.append(
            f"{topics.image} has no camera_info of a calibrated camera, so the focal length is unknown: give "
            "--camera-info."
        )
    if not topics.truth:
        return Plan(topics, [], cameras, options.encoding_override, None, 0.0, (width, height), 0, notes)
    frame = frame_name(picture.header.frame_id or (cameras.frame if cameras is not None else ""))
    shared = depth_info == info and not options.depth_camera_info  # what lies beside both is the pictures'
    depth_cameras = None if shared else _track(options.depth_camera_info, depth_info, known)
    makes_depth, how = _truth(reader, topics, options, known, frame, view, depth_cameras)
    tolerance_s = _tolerance(known, topics, options)
    samples, counts = _samples(known, topics, options, tolerance_s)
    notes = [how, *counts, *notes]
    if known.transforms.ignored:
        notes.append(f"{known.transforms.ignored} transforms were none (NaN, or a quaternion of length 0).")
    measured = len(known.stamps[topics.truth])
    return Plan(
        topics, samples, cameras, options.encoding_override, makes_depth, tolerance_s, (width, height), measured, notes
    )


def _track(given: str, topic: str, known: Survey) -> CameraTrack | None:
    if topic:
        return known.cameras[topic] if known.cameras[topic].cameras else None
    return CameraTrack.of_file(Path(given)) if given else None


def _camera(cameras: CameraTrack | None, time_ns: int, width: int, height: int) -> CameraModel | None:
    return None if cameras is None else matching_camera(cameras.at(time_ns), width, height)


def _truth(
    reader: BagReader,
    topics: selection.Selection,
    options: TruthOptions,
    known: Survey,
    frame: str,
    view: View,
    depth_cameras: CameraTrack | None,
) -> tuple[Truth, str]:
    """Returns what makes depth, and a sentence about it. ``frame`` and ``view`` are the first picture's."""
    measured = first_message(reader, topics.truth)
    frames = frame, frame_name(measured.header.frame_id)
    if topics.lidar:
        return _lidar(options, known, frames, view, topics)
    if depth_cameras is not None and selection.is_rectified(topics.truth):
        depth_cameras = depth_cameras.rectified()
    return _depth(options, known, frames, view, read_depth(measured).shape, depth_cameras)


def _lidar(
    options: TruthOptions, known: Survey, frames: tuple[str, str], view: View, topics: selection.Selection
) -> tuple[Truth, str]:
    if view.camera is None:
        raise BadInput(
            f"{topics.image} has no camera_info of a calibrated camera beside it, without which points have no place "
            "in the pictures: give --camera-info TOPIC or FILE."
        )
    placement = _placement(options, known, frames, None)
    how = f"Points of {topics.truth} were put into the pictures; motion during a scan was not undone."
    return LidarDepth(placement, options.occlusion, options.occlusion_pixels), how


def _depth(
    options: TruthOptions,
    known: Survey,
    frames: tuple[str, str],
    view: View,
    shape: tuple[int, ...],
    cameras: CameraTrack | None,
) -> tuple[Truth, str]:
    """Decides whether depth pixels are the picture's pixels; if not, they have to be projected."""
    height, width = shape
    same_frame = frames[0] == frames[1] or not all(frames)
    same_pixels = options.extrinsics is None and same_frame and _may_be_registered(cameras, shape, view.camera)
    if options.registered or same_pixels:
        if not same_aspect((width, height), (view.width, view.height)):
            raise BadInput(
                f"The depth is {width}x{height} and the pictures are {view.width}x{view.height}, another shape, and "
                "no camera_info of the depth camera says how they go together: record it, or register the depth."
            )
        return RegisteredDepth(), "Depth images were taken as registered to the pictures."
    if cameras is None or view.camera is None:
        raise BadInput(
            f"The depth is of frame {frames[1]!r} and the pictures of {frames[0]!r}, and there is no camera_info of "
            f"the {'depth camera' if cameras is None else 'pictures'} to project with: record it, or say --registered "
            "where their pixels agree all the same."
        )
    matching_camera(cameras.at(0), width, height)
    try:
        placement = _placement(options, known, frames, np.eye(4) if same_frame else None)
    except BadInput as error:
        raise BadInput(
            f"The depth is of frame {frames[1]!r}, not of the pictures' {frames[0]!r} (say --registered where their "
            f"pixels agree all the same). {error}"
        ) from error
    how = f"Depth images were projected from frame {frames[1]!r} into the pictures."
    return ReprojectedDepth(cameras, placement, options.occlusion), how


def _may_be_registered(cameras: CameraTrack | None, shape: tuple[int, ...], picture: CameraModel | None) -> bool:
    """Returns whether no calibration says that depth images of one frame with the pictures have other pixels.

    A driver that registers depth may go on sending the calibration of its infrared camera: of another size than the
    depth images, it says nothing about them.
    """
    if cameras is None or picture is None:
        return True
    source = cameras.at(0)
    return (source.height, source.width) != shape or is_registered(source, picture)


def _placement(
    options: TruthOptions, known: Survey, frames: tuple[str, str], otherwise: np.ndarray | None
) -> Placement:
    extrinsics = otherwise if options.extrinsics is None else read_extrinsics(options.extrinsics)
    return Placement(known.transforms, *frames, extrinsics, options.fixed_frame)


def _tolerance(known: Survey, topics: selection.Selection, options: TruthOptions) -> float:
    """Returns the longest time between a picture and its measurement (seconds)."""
    if options.tolerance is not None:
        return options.tolerance
    truths = known.stamps[topics.truth]
    if not topics.lidar:
        return DEPTH_TOLERANCE_S
    half_period = float(np.median(np.diff(truths))) / 2e9 if len(truths) > 1 else LIDAR_TOLERANCE_S
    return min(half_period, LIDAR_TOLERANCE_S)


def _samples(
    known: Survey, topics: selection.Selection, options: TruthOptions, tolerance: float
) -> tuple[list[Planned], list[str]]:
    """Pairs and thins the pictures; returns them with what was left out, in sentences."""
    images, truths = known.stamps[topics.image], known.stamps[topics.truth]
    pairs = pair(images, truths, tolerance)
    kept = spaced(images[pairs.pictures], options.every)
    before, after = (options.accumulate - 1) // 2, options.accumulate // 2
    samples = [
        Planned(int(images[number]), tuple(truths[max(0, partner - before) : partner + after + 1].tolist()))
        for number, partner in zip(pairs.pictures[kept].tolist(), pairs.partners[kept].tolist())
    ]
    what = "scan" if topics.lidar else "depth image"
    thinned = f"; {len(samples)} of them were taken, at least {options.every:g} s apart" if options.every else ""
    counts = [
        f"Of {len(images)} pictures and {len(truths)} {what}s, {len(pairs.pictures)} pairs lie within {tolerance:g} s"
        f"{thinned}."
    ]
    if pairs.lonely:
        counts.append(f"{pairs.lonely} pictures have no {what} in time.")
    if pairs.shared:
        counts.append(f"{pairs.shared} pictures have none of their own: their {what} belongs to a nearer picture.")
    counts += [
        f"{count} messages on {name} repeat a header stamp: the first of each was taken."
        for name, count in known.repeated.items()
        if count
    ]
    return samples, counts
