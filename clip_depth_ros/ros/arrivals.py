"""Why a camera's images do not arrive, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

from rclpy.node import Node

from clip_depth_ros.ros.camera_stream import CameraStream
from clip_depth_ros.ros.fastdds import PROFILE, profile_environment


def publisher_types(node: Node, topic: str) -> list[str]:
    """Returns the message types that ``topic`` (full name) has publishers for, one entry a publisher."""
    return [publisher.topic_type for publisher in node.get_publishers_info_by_topic(topic)]


def why_no_images(node: Node, stream: CameraStream) -> str:
    """Returns the likely reason that no image of ``stream`` arrives, and what to do."""
    topic = stream.image_topic
    types = publisher_types(node, topic)
    if not types:
        return f"nobody publishes {topic}{_other_transport(node, stream)}"
    if stream.mismatches:
        return "no image: match the publisher's QoS, for example by the qos_overrides parameters"
    if stream.type_name not in types:
        return (
            f"{topic} carries {', '.join(sorted(set(types)))}, but {stream.type_name} is listened for: "
            "remap the topic or set image_transport"
        )
    setting = " and ".join(f"{name}={path}" for name, path in profile_environment({}).items())
    return (
        f"{topic} has a publisher, but no image gets here: if it does send, Fast DDS loses its large messages, so "
        f"start the camera with {setting or PROFILE}"
    )


def transport(environ: Mapping[str, str]) -> str:
    """Returns whether what this process sends gets through, for people."""
    missing = profile_environment(environ)
    if not missing:
        return "set for large messages, or chosen by the user"
    return f"large messages may be lost: start the node with {' '.join(f'{name}={missing[name]}' for name in missing)}"


def _other_transport(node: Node, stream: CameraStream) -> str:
    """Returns a hint where the camera sends only what the other setting of image_transport listens for."""
    compressed = stream.image_topic.endswith("/compressed")
    other = stream.image_topic.removesuffix("/compressed") if compressed else f"{stream.image_topic}/compressed"
    if not publisher_types(node, other):
        return ""
    return f", but somebody publishes {other}: set image_transport to {'raw' if compressed else 'compressed'}"
