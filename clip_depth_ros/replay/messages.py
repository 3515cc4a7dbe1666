"""What a bag is made of: topics, raw messages, and the header stamp read straight from a message's bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"

_NANOSECONDS = 1_000_000_000
_STAMP_OFFSET = 4  # a CDR message opens with four bytes of encapsulation; a leading std_msgs/Header follows at once


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a bag: its name, its type as ``package/msg/Name`` and how many messages it has."""

    name: str
    type: str
    count: int


@dataclass(frozen=True)
class BagMessage:
    """One recorded message.

    Attributes:
        topic: name of the topic.
        type: message type as ``package/msg/Name``.
        time_ns: when it was received by the recorder (nanoseconds since the epoch), not its header stamp.
        data: the serialised message, uncompressed CDR with its four bytes of encapsulation.
    """

    topic: str
    type: str
    time_ns: int
    data: bytes


@dataclass(frozen=True)
class Definition:
    """The text that defines a message type, as a bag carries it: ``encoding`` is ``ros2msg`` or ``ros2idl``."""

    encoding: str
    text: str


def normalise_type(name: str) -> str:
    """Returns a message type as ``package/msg/Name``; some recorders leave ``msg`` out."""
    package, _, rest = name.partition("/")
    return f"{package}/msg/{rest}" if rest and "/" not in rest else name


def header_stamp_ns(data: bytes) -> int:
    """Returns the header stamp (nanoseconds) of a serialised message whose first field is a ``std_msgs/Header``.

    Raises:
        ValueError: the message is too short to hold a stamp.
    """
    if len(data) < _STAMP_OFFSET + 8:
        raise ValueError(f"a message of {len(data)} bytes holds no header")
    seconds, nanoseconds = struct.unpack_from(_stamp_format(data), data, _STAMP_OFFSET)
    return int(seconds) * _NANOSECONDS + int(nanoseconds)


def with_header_stamp(data: bytes, stamp_ns: int) -> bytes:
    """Returns a copy of a serialised message (first field a ``std_msgs/Header``) that carries another stamp."""
    changed = bytearray(data)
    struct.pack_into(_stamp_format(data), changed, _STAMP_OFFSET, *divmod(stamp_ns, _NANOSECONDS))
    return bytes(changed)


def _stamp_format(data: bytes) -> str:
    return "<iI" if data[1] & 1 else ">iI"  # the encapsulation's second byte says which end comes first
