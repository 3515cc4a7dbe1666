"""What the network made of a recording, as a bag of its own: it opens in RViz and Foxglove like the node's topics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from clip_depth_ros.depth.camera import CameraModel
from clip_depth_ros.depth.cloud import PointGrid
from clip_depth_ros.depth.colour import colourise
from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.message_maker import MessageMaker
from clip_depth_ros.replay.messages import COMPRESSED_IMAGE, BagMessage
from clip_depth_ros.replay.reader import BagReader
from clip_depth_ros.replay.writer import BagWriter

NAMESPACE = "/camera"
TRANSFORM_MESSAGE = "tf2_msgs/msg/TFMessage"
_TRANSFORMS = ("tf", "tf_static")


class ResultBag:
    """A new bag (mcap) with depth, its camera_info, points and colours for each picture of a recording.

    Topics are the node's: ``/camera/depth/{image,camera_info,points,image_color}`` of the main head,
    ``/camera/<head>/depth/...`` of others, and the input as ``/camera/image`` (``/camera/image/compressed``) and
    ``/camera/camera_info``. Header stamps and frames are the input's, exactly; receive times are those of the input
    picture. Leaving the ``with`` block by an exception leaves nothing behind.

    Args:
        path: the bag folder to make.
        heads: by name, in which range each head reads (metres), which scales its colours; the first is the main head.
        overwrite: replace a bag that is there.
        points_every: points of every n-th picture, 0 for none: they take most of the space.
        points_stride: every n-th row and column of the picture becomes a point.
        edge_threshold: points on depth jumps above this are left out, see :class:`PointGrid`; 0 keeps all.
        with_input: whether the input picture is written too.

    Raises:
        BadInput: no heads, a number out of its range, or the folder cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        heads: Mapping[str, tuple[float, float]],
        overwrite: bool = False,
        *,
        points_every: int = 1,
        points_stride: int = 1,
        edge_threshold: float = 0.0,
        with_input: bool = True,
    ) -> None:
        if not heads:
            raise BadInput("A result bag needs a depth head: name one.")
        if points_every < 0:
            raise BadInput(f"Points of every {points_every}-th picture were asked for: give a number from 0 (none).")
        if points_stride < 1:
            raise BadInput(f"point stride is {points_stride}: give a whole number from 1")
        self._ranges = dict(heads)
        main = next(iter(heads))
        self._folders = {head: f"{NAMESPACE}/depth" if head == main else f"{NAMESPACE}/{head}/depth" for head in heads}
        self._points_every = points_every
        self._cloud_choices = points_stride, edge_threshold
        self._with_input = with_input
        self._grid: PointGrid | None = None
        self._grid_camera: CameraModel | None = None
        self._pictures = 0
        self._writer = BagWriter(path, overwrite)
        self._maker = MessageMaker(self._writer.typestore.types)

    def __enter__(self) -> ResultBag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def copy_from(self, reader: BagReader, camera_info: str = "") -> None:
        """Copies the recording's transforms (``/tf``, ``/tf_static``) and a camera_info topic, byte for byte.

        Args:
            reader: the recording.
            camera_info: its topic that belongs to the pictures; it becomes ``/camera/camera_info``.

        Raises:
            BadInput: the disk is full.
        """
        topics = {camera_info: f"{NAMESPACE}/camera_info"} if camera_info else {}
        for name, topic in reader.topics.items():
            if topic.type == TRANSFORM_MESSAGE and name.rpartition("/")[2] in _TRANSFORMS:
                topics[name] = name
        if topics:
            for message in reader.messages(topics):
                self._writer.write(topics[message.topic], message.type, message.time_ns, message.data)

    def copy(self, message: BagMessage) -> None:
        """Adds a message of an earlier result bag as it is, to go on with that; BadInput when the disk is full."""
        if message.topic == f"{NAMESPACE}/depth/image":
            self._pictures += 1  # so that points of every n-th picture go on as they were
        self._writer.write(message.topic, message.type, message.time_ns, message.data)

    def write(
        self,
        message: BagMessage,
        header: Any,
        rgb: np.ndarray,
        depths: Mapping[str, np.ndarray],
        camera: CameraModel | None,
    ) -> None:
        """Adds one picture and its depth.

        Args:
            message: the recorded picture; its bytes are copied as they are.
            header: that of the decoded picture.
            rgb: (H, W, 3) uint8, what it shows.
            depths: by head, (H, W) float32 metres along z (REP 118), NaN = no reading; heads may be absent.
            camera: of the picture, None where unknown: then there are no points and no camera_info of the depth.

        Raises:
            BadInput: sizes differ, or the disk is full.
        """
        time_ns = message.time_ns
        header = self._maker.header_like(header)
        if self._with_input:
            name = f"{NAMESPACE}/image" + ("/compressed" if message.type == COMPRESSED_IMAGE else "")
            self._writer.write(name, message.type, time_ns, message.data)
        if camera is not None and not camera.is_calibrated:
            camera = None
        points = self._points_every > 0 and self._pictures % self._points_every == 0
        self._pictures += 1
        for head, depth in depths.items():
            folder = self._folders[head]
            add = self._writer.write_message
            depth = np.ascontiguousarray(depth, np.float32)
            add(f"{folder}/image", time_ns, self._maker.image(header, "32FC1", depth))
            if camera is not None:
                add(f"{folder}/camera_info", time_ns, self._maker.camera_info(header, camera))
            colours = colourise(depth, *self._ranges[head])
            add(f"{folder}/image_color", time_ns, self._maker.image(header, "rgb8", colours))
            if camera is not None and points:
                grid = self._points_of(camera)
                cloud = np.empty((*grid.shape, 4), np.float32)
                grid.write(depth, rgb, cloud)
                add(f"{folder}/points", time_ns, self._maker.cloud(header, cloud))

    def _points_of(self, camera: CameraModel) -> PointGrid:
        """Returns what makes points of this camera; its rays are computed once."""
        if self._grid is None or self._grid_camera != camera:
            stride, edge_threshold = self._cloud_choices
            self._grid = PointGrid(camera, stride, edge_threshold=edge_threshold)
            self._grid_camera = camera
        return self._grid
