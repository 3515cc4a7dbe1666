"""Which topic of a bag holds the images, the calibration, the depth: found by type and by looking at one message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.messages import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, POINT_CLOUD, TopicInfo

if TYPE_CHECKING:
    from clip_depth_ros.replay.reader import BagReader

_TYPES = {
    "image": (IMAGE, COMPRESSED_IMAGE),
    "depth": (IMAGE,),
    "camera_info": (CAMERA_INFO,),
    "points": (POINT_CLOUD,),
}
_DEPTH_ENCODINGS = ("32FC1", "16UC1")


def require_topic(reader: BagReader, kind: str, name: str = "", near: str = "") -> TopicInfo:
    """Returns the one topic of a bag that holds ``kind``.

    Args:
        reader: the bag.
        kind: ``image`` (colour or grey), ``depth`` (REP 118), ``camera_info`` or ``points``.
        name: the topic the user named; empty looks for it.
        near: another topic; of several, the one in the same namespace is taken.

    Raises:
        BadInput: there is no such topic, several of them, or ``name`` is absent or of another type; the sentence lists
            what there is.
    """
    if name:
        return _named(reader, kind, name)
    found = candidates(reader, kind)
    if len(found) > 1 and near:
        found = [topic for topic in found if _namespace(topic.name) == _namespace(near)] or found
    if not found:
        raise BadInput(f"{reader.path} has no {kind} topic: its topics are {listing(reader.topics.values())}.")
    if len(found) > 1:
        raise BadInput(f"{reader.path} has {len(found)} {kind} topics, name one of them: {listing(found)}.")
    return found[0]


def candidates(reader: BagReader, kind: str) -> list[TopicInfo]:
    """Returns every topic that may hold ``kind``, by type; images and depth are told apart by their first message."""
    found = [topic for topic in reader.topics.values() if topic.type in _TYPES[kind]]
    if kind in ("image", "depth"):
        found = [topic for topic in found if _is_depth(reader, topic) == (kind == "depth")]
    return found


def listing(topics: Iterable[TopicInfo]) -> str:
    """Returns topics as text: ``/camera/image (sensor_msgs/msg/Image, 90), ...``."""
    return ", ".join(f"{topic.name} ({topic.type}, {topic.count})" for topic in topics)


def _named(reader: BagReader, kind: str, name: str) -> TopicInfo:
    topic = reader.topics.get(name)
    if topic is None:
        raise BadInput(f"{reader.path} has no topic {name}: its topics are {listing(reader.topics.values())}.")
    if topic.type not in _TYPES[kind]:
        raise BadInput(f"{name} is a {topic.type}, but {kind} is expected to be a {' or a '.join(_TYPES[kind])}.")
    return topic


def _is_depth(reader: BagReader, topic: TopicInfo) -> bool:
    message = next(reader.messages([topic.name]), None)
    if message is None:
        return False
    content = reader.decode(message)
    if topic.type == COMPRESSED_IMAGE:
        return "compressedDepth" in content.format
    # Some drivers call millimetres "mono16", as they do 16-bit infrared: there the name decides.
    return content.encoding in _DEPTH_ENCODINGS or (content.encoding == "mono16" and "depth" in topic.name.lower())


def _namespace(topic: str) -> str:
    return topic.rpartition("/")[0]
