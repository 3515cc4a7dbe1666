"""One camera's output: its topics, which of them somebody hears, and the messages on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from torch import Tensor

from clip_depth_ros.depth.colour import colourise
from clip_depth_ros.depth.device_cloud import CloudOptions
from clip_depth_ros.depth.estimator import DepthResult
from clip_depth_ros.depth.geometry import CameraModel
from clip_depth_ros.depth.heads import DepthPrediction
from clip_depth_ros.depth.masking import readings
from clip_depth_ros.ros.calibration import Calibration
from clip_depth_ros.ros.camera_info import depth_camera_info
from clip_depth_ros.ros.images import depth_message, image_pixels, matrix_message
from clip_depth_ros.ros.parameters import Settings
from clip_depth_ros.ros.point_cloud import CloudBuilder, grid_message
from clip_depth_ros.ros.topics import advertise

DEPTH, CAMERA_INFO, POINTS, COLOUR, CONFIDENCE = "image", "camera_info", "points", "image_color", "confidence"
TOKENS, EMBEDDING = "clip/tokens", "clip/embedding"
_NEED_DEPTH = frozenset((DEPTH, POINTS, COLOUR))
_MAIN = ""  # the folder depth/, which the main head fills; the folder of a head's own topics has its name


@dataclass(frozen=True)
class Wanted:
    """What somebody subscribes to, at the moment it was asked.

    Attributes:
        folders: by folder of topics, the head that fills it for this picture and the kinds of output wanted; folders
            nobody hears are left out.
        clip: the CLIP topics wanted.
    """

    folders: Mapping[str, tuple[str, frozenset[str]]]
    clip: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.folders or self.clip)

    @property
    def heads(self) -> set[str]:
        """The heads that must run."""
        return {head for head, _ in self.folders.values()}

    @property
    def points(self) -> bool:
        """Whether a cloud is wanted of any head."""
        return any(POINTS in kinds for _, kinds in self.folders.values())

    def without_calibration(self, rectify: bool) -> Wanted:
        """Returns what is left when the camera's calibration is unknown; nothing when images are to be rectified."""
        return self._without(frozenset((CAMERA_INFO, POINTS)), rectify)

    def without_points(self, rectify: bool) -> Wanted:
        """Returns what is left while the camera's rays are unknown; nothing when images are to be rectified."""
        return self._without(frozenset((POINTS,)), rectify)

    def _without(self, gone: frozenset[str], everything: bool) -> Wanted:
        if everything:
            return Wanted({}, frozenset())
        left = {folder: (head, kinds - gone) for folder, (head, kinds) in self.folders.items()}
        return Wanted({folder: (head, kinds) for folder, (head, kinds) in left.items() if kinds}, self.clip)


@dataclass(frozen=True)
class Picture:
    """What a frame became on its way to the network.

    Attributes:
        header: the input message's own header.
        image: ``(H, W, 3)`` uint8 RGB, as the network sees it (rectified where that was asked for).
        camera: the geometry of ``image``; None where it is unknown.
        calibration: what ``camera`` was made from.
        outside: ``(H, W)`` bool, True where a rectified image shows nothing; None when it was not rectified.
    """

    header: Header
    image: np.ndarray
    camera: CameraModel | None
    calibration: Calibration
    outside: np.ndarray | None = None


@dataclass
class _Topics:
    """The topics of one folder.

    Attributes:
        publishers: by kind of output.
        image, confidence, colour, points: what is published there, written anew for every picture: rclpy hands a copy
            to the middleware before ``publish`` returns. Nobody else may hold them.
    """

    publishers: dict[str, Publisher] = field(default_factory=dict)
    image: Image = field(default_factory=Image)
    confidence: Image = field(default_factory=Image)
    colour: Image = field(default_factory=Image)
    points: PointCloud2 = field(default_factory=PointCloud2)


class CameraOutputs:
    """The publishers of one camera, for every head.

    Its messages are reused from picture to picture, so :meth:`publish` is for one thread at a time.

    Attributes:
        mismatches: sentences about subscribers that can never hear, newest last.
    """

    def __init__(self, node: LifecycleNode, camera: str, settings: Settings) -> None:
        """Prepares the outputs of the camera with namespace ``camera``; :meth:`advertise` makes the topics."""
        self._node = node
        self._prefix = f"{camera}/" if camera else ""
        self._rectify = settings.rectify
        self._folders: dict[str, _Topics] = {}
        self._clip: dict[str, Publisher] = {}
        self._cloud: CloudBuilder | None = None
        self._cloud_key: tuple[object, ...] = ()
        self.mismatches: list[str] = []

    def advertise(self, sample: DepthResult) -> None:
        """Advertises every topic the network can fill.

        Args:
            sample: a result of the network: shows its heads, which of them have confidence, and whether the weights
                hold CLIP's projection.

        Raises:
            BadInput: a parameter asks for a quality of service there is not.
        """
        # Several heads have their own topics each, the main one too: whichever is the main one, no topic comes or goes.
        confident = {head for head, prediction in sample.items() if prediction.confidence is not None}
        self._advertise_folder(_MAIN, "", bool(confident))
        for head in sample if len(sample) > 1 else ():
            self._advertise_folder(head, f"{head}/", head in confident)
        for kind in (TOKENS,) if sample.embedding is None else (TOKENS, EMBEDDING):
            self._clip[kind] = advertise(self._node, Image, self._prefix + kind, self._on_mismatch)

    def _advertise_folder(self, name: str, folder: str, confident: bool) -> None:
        kinds: list[tuple[str, type]] = [
            (DEPTH, Image),
            (CAMERA_INFO, CameraInfo),
            (POINTS, PointCloud2),
            (COLOUR, Image),
        ]
        if confident:
            kinds.append((CONFIDENCE, Image))
        publishers = self._folders.setdefault(name, _Topics()).publishers
        names = {DEPTH: "image_rect" if self._rectify else "image"}
        for kind, message in kinds:
            topic = f"{self._prefix}{folder}depth/{names.get(kind, kind)}"
            publishers[kind] = advertise(self._node, message, topic, self._on_mismatch)

    def destroy(self) -> None:
        """Removes every topic."""
        for publishers in self._groups():
            for publisher in publishers.values():
                self._node.destroy_lifecycle_publisher(publisher)
            publishers.clear()
        self._folders.clear()

    def wanted(self, settings: Settings) -> Wanted:
        """Returns what somebody subscribes to now."""
        heard = {folder: _heard(topics.publishers) for folder, topics in self._folders.items()}
        folders = {folder: (folder or settings.main_head, kinds) for folder, kinds in heard.items() if kinds}
        return Wanted(folders, _heard(self._clip))

    def heard(self) -> list[str]:
        """Returns the full names of the topics somebody subscribes to now."""
        publishers = [publisher for group in self._groups() for publisher in group.values()]
        return sorted(publisher.topic_name for publisher in publishers if publisher.get_subscription_count())

    def publish(self, picture: Picture, result: DepthResult, wanted: Wanted, settings: Settings) -> None:
        """Publishes what is wanted of one picture's result, depth first; every header is the picture's own."""
        for folder, (head, kinds) in wanted.folders.items():
            self._publish_folder(self._folders[folder], picture, result, head, kinds, settings)
        for kind, values in ((TOKENS, result.tokens), (EMBEDDING, result.embedding)):
            if kind in wanted.clip and values is not None:
                self._clip[kind].publish(matrix_message(picture.header, _matrix(values)))

    def _groups(self) -> list[dict[str, Publisher]]:
        return [*(topics.publishers for topics in self._folders.values()), self._clip]

    def _publish_folder(
        self,
        topics: _Topics,
        picture: Picture,
        result: DepthResult,
        head: str,
        kinds: frozenset[str],
        settings: Settings,
    ) -> None:
        header, publishers, prediction = picture.header, topics.publishers, result[head]
        points = result.clouds.get(head)
        made = frozenset((POINTS,)) if points is not None else frozenset()  # by the network: their depth is not needed
        if (kinds - made) & _NEED_DEPTH:
            self._publish_depth(topics, picture, prediction, kinds - made, settings)
        if points is not None:
            cloud = grid_message(header, points[0].numpy(), settings.points_organised, topics.points)
            publishers[POINTS].publish(cloud)
        source = picture.calibration
        if CAMERA_INFO in kinds and picture.camera is not None and source.camera is not None:
            publishers[CAMERA_INFO].publish(depth_camera_info(source.message, header, source.camera, self._rectify))
        if CONFIDENCE in kinds and prediction.confidence is not None:
            confidence = _matrix(prediction.confidence)
            publishers[CONFIDENCE].publish(matrix_message(header, confidence, topics.confidence))

    def _publish_depth(
        self,
        topics: _Topics,
        picture: Picture,
        prediction: DepthPrediction,
        kinds: frozenset[str],
        settings: Settings,
    ) -> None:
        header, publishers, limits = picture.header, topics.publishers, valid_range(prediction, settings)
        raw = prediction.depth[0].cpu().numpy()
        metric = settings.depth_encoding == "32FC1"
        # The readings in metres are written where they are published from, and read there for points and colours.
        depth = readings(raw, limits, image_pixels(topics.image, header, raw.shape, "32FC1") if metric else None)
        if picture.outside is not None:
            depth[picture.outside] = np.nan
        if DEPTH in kinds:
            message = topics.image if metric else depth_message(header, depth, settings.depth_encoding, topics.image)
            publishers[DEPTH].publish(message)
        if POINTS in kinds and picture.camera is not None:
            builder = self._cloud_builder(picture.camera, settings)
            publishers[POINTS].publish(builder.build(header, depth, picture.image, topics.points))
        if COLOUR in kinds:
            colourise(depth, *limits, out=image_pixels(topics.colour, header, raw.shape, "rgb8"))
            publishers[COLOUR].publish(topics.colour)

    def _cloud_builder(self, camera: CameraModel, settings: Settings) -> CloudBuilder:
        """Returns the builder for this geometry and these parameters; it is kept until they change."""
        choices = (
            settings.points_stride,
            settings.points_minimum,
            settings.points_maximum or np.inf,
            settings.points_edge_threshold,
            settings.points_organised,
        )
        if self._cloud is None or self._cloud_key != (camera, choices):
            self._cloud = CloudBuilder(camera, *choices)
            self._cloud_key = (camera, choices)
        return self._cloud

    def _on_mismatch(self, sentence: str) -> None:
        self.mismatches = [*self.mismatches[-4:], sentence]
        self._node.get_logger().warning(f"No data will be sent: {sentence}.")


def cloud_options(wanted: Wanted, settings: Settings) -> CloudOptions | None:
    """Returns what points are wanted, for a network that makes them; None for none."""
    heads = tuple(sorted({head for head, kinds in wanted.folders.values() if POINTS in kinds}))
    if not heads:
        return None
    return CloudOptions(
        heads,
        (settings.depth_minimum, settings.depth_maximum or np.inf),
        settings.points_stride,
        settings.points_minimum,
        settings.points_maximum or np.inf,
        settings.points_edge_threshold,
    )


def valid_range(prediction: DepthPrediction, settings: Settings) -> tuple[float, float]:
    """Returns the nearest and farthest reading (m): the head's limits, narrowed by the parameters."""
    low, high = prediction.valid_range
    low = max(low, settings.depth_minimum)
    return low, min(high, settings.depth_maximum) if settings.depth_maximum else high


def _heard(publishers: Mapping[str, Publisher]) -> frozenset[str]:
    return frozenset(kind for kind, publisher in publishers.items() if publisher.get_subscription_count() > 0)


def _matrix(values: Tensor) -> np.ndarray:
    """Returns one picture's ``(1, rows, columns)`` or ``(1, columns)`` as a float32 matrix."""
    matrix = values[0] if values.ndim == 3 else values
    return matrix.float().cpu().numpy()
