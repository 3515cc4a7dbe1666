"""Which topics of a recording are the pictures, the depth and the calibration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay import topics
from clip_depth_ros.replay.messages import COMPRESSED_IMAGE, IMAGE, TopicInfo

if TYPE_CHECKING:
    from clip_depth_ros.replay.reader import BagReader

TruthUse = Literal["needed", "wanted", "unwanted"]

_TRANSFORMS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_TRANSPORT = re.compile(r"/(compressed|compressedDepth)$")
_RECTIFIED = re.compile(r"(^|[/_])rect(ified)?([/_]|$)")


@dataclass(frozen=True)
class Selection:
    """Topics by name; ``lidar`` says whether ``truth`` holds point clouds instead of depth images, empty is none."""

    image: str
    truth: str
    lidar: bool

    @property
    def usual_range_m(self) -> tuple[float, float]:
        """Nearest and farthest depth (metres) that such a sensor measures well."""
        return (0.5, 80.0) if self.lidar else (0.1, 10.0)


def select(
    reader: BagReader, image: str = "", depth: str = "", lidar: str = "", truth: TruthUse = "needed"
) -> Selection:
    """Returns the topics to read; what is not named is looked for. ``truth``: see ``make_plan``.

    A depth image is preferred to a cloud where there is one of each.

    Raises:
        BadInput: a topic is absent or of another type, there is none, or several; the sentence lists what there is.
    """
    chosen = reader.require_topic("image", image)
    if truth == "unwanted":
        return Selection(chosen.name, "", False)
    if lidar:
        return Selection(chosen.name, reader.require_topic("points", lidar).name, True)
    if depth:
        return Selection(chosen.name, _named_depth(reader, depth).name, False)
    depths = depth_topics(reader)
    clouds = [] if depths else topics.candidates(reader, "points")
    if not depths and not clouds:
        if truth == "wanted":
            return Selection(chosen.name, "", False)
        raise BadInput(
            f"{reader.path} has no depth image and no point cloud to learn from: its topics are "
            f"{topics.listing(reader.topics.values())}."
        )
    if len(depths) + len(clouds) > 1:
        raise BadInput(
            f"{reader.path} has {len(depths)} depth topics and {len(clouds)} point clouds, name one with --depth or "
            f"--lidar: {topics.listing([*depths, *clouds])}."
        )
    return Selection(chosen.name, (depths or clouds)[0].name, bool(clouds))


def depth_topics(reader: BagReader) -> list[TopicInfo]:
    """Returns every topic that looks like depth images, raw or compressed."""
    compressed = [
        topic
        for topic in reader.topics.values()
        if topic.type == COMPRESSED_IMAGE
        and (message := next(reader.messages([topic.name]), None)) is not None
        and "compressedDepth" in reader.decode(message).format
    ]
    return topics.candidates(reader, "depth") + compressed


def _named_depth(reader: BagReader, name: str) -> TopicInfo:
    topic = reader.topics.get(name)
    if topic is not None and topic.type == COMPRESSED_IMAGE:
        return topic
    return reader.require_topic("depth", name)


def transform_topics(reader: BagReader) -> dict[str, bool]:
    """Returns the topics of transforms, and whether each is of static ones."""
    return {
        topic.name: topic.name.endswith("tf_static") for topic in reader.topics.values() if topic.type in _TRANSFORMS
    }


def sibling_camera_info(reader: BagReader, name: str) -> str:
    """Returns the ``camera_info`` topic beside an image topic; empty when there is none."""
    base = _TRANSPORT.sub("", name)
    info = f"{base.rpartition('/')[0]}/camera_info"
    return info if info in reader.topics else ""


def is_rectified(name: str) -> bool:
    """Returns whether an image topic is named as image_proc names rectified pictures (``image_rect``, ...)."""
    return _RECTIFIED.search(_TRANSPORT.sub("", name).rpartition("/")[2]) is not None


def require_pictures(reader: BagReader, name: str) -> None:
    """Raises BadInput where the image topic holds depth."""
    message = next(reader.messages([name]), None)
    if message is not None and message.type == IMAGE and reader.decode(message).encoding in ("32FC1", "16UC1"):
        raise BadInput(f"{name} holds depth, not pictures: name it with --depth and the pictures with --image.")
