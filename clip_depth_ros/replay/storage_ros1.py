"""ROS 1 bags: their messages become ROS 2's CDR, so that everything after the reader sees one format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection, Nodetype
from rosbags.rosbag1 import Reader
from rosbags.rosbag1.reader import ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.messages import BagMessage, Definition, TopicInfo, normalise_type
from clip_depth_ros.replay.storage import Tell

_HEADER = "std_msgs/msg/Header"  # ROS 1's has a `seq` more, which rosbags leaves out by itself


class Ros1Storage:
    """A ROS 1 ``.bag`` file (version 2.0, chunks plain, bz2 or lz4).

    Topics whose type ROS 2 defines with other fields (``rosgraph_msgs/Log``) are left out with a warning: their bytes
    would mean something else to whoever receives them.

    Args:
        path: the file.
        warn: is told, in one sentence, what is left out.
        lost: is told, in one sentence, what is damaged and cannot be read.

    Raises:
        BadInput: the bag is damaged, encrypted or was never indexed.
    """

    def __init__(self, path: Path, warn: Tell, lost: Tell) -> None:
        self._path = path
        self._warn, self._tell_lost = warn, lost
        self._reader = Reader(path)
        try:
            self._reader.open()
        except (ReaderError, ValueError, OSError) as error:
            advice = "run `rosbag reindex` on it" if "index" in str(error) else "copy or record it again"
            raise BadInput(f"{path} cannot be read as a ROS 1 bag ({error}): {advice}.") from error
        self._typestore = get_typestore(Stores.ROS2_JAZZY)
        self._connections = [one for one in self._reader.connections if one.msgcount and self._understood(one)]
        self.topics = self._topics()
        self.definitions: dict[str, Definition] = {}
        self.start_ns, self.end_ns = self._reader.start_time, self._reader.end_time - 1

    @property
    def typestore(self) -> Typestore:
        """ROS 2's types and those that only this bag defines."""
        return self._typestore

    def messages(self, topics: set[str] | None) -> Iterator[BagMessage]:
        """Yields messages in time order as CDR."""
        wanted = [one for one in self._connections if topics is None or one.topic in topics]
        if not wanted:
            return
        try:
            for connection, time_ns, raw in self._reader.messages(wanted):
                data = bytes(self._typestore.ros1_to_cdr(raw, connection.msgtype))
                yield BagMessage(connection.topic, connection.msgtype, time_ns, data)
        except (ReaderError, SerdeError, ValueError) as error:
            self._tell_lost(f"{self._path.name} is damaged: reading ended there ({error}).")

    def close(self) -> None:
        """Closes the file."""
        self._reader.close()

    def _topics(self) -> list[TopicInfo]:
        merged: dict[str, TopicInfo] = {}
        for one in self._connections:
            before = merged[one.topic].count if one.topic in merged else 0
            merged[one.topic] = TopicInfo(one.topic, normalise_type(one.msgtype), before + one.msgcount)
        return list(merged.values())

    def _understood(self, connection: Connection) -> bool:
        """Registers the types of a connection that ROS 2 does not have; False when ROS 2 has another of that name."""
        try:
            types = dict(get_types_from_msg(connection.msgdef.data, connection.msgtype))
            types.pop(_HEADER, None)
            known = self._typestore.fielddefs
            changed = [name for name in types if name in known and not _same_fields(types[name][1], known[name][1])]
            if changed:
                self._warn(f"{connection.topic} is left out: ROS 2 has other fields in {', '.join(changed)}.")
                return False
            self._typestore.register({name: fields for name, fields in types.items() if name not in known})
        except TypesysError as error:
            self._warn(f"{connection.topic} is left out: its type {connection.msgtype} cannot be read ({error}).")
            return False
        return True


def _same_fields(one: Any, other: Any) -> bool:
    """True when two lists of fields lie in memory alike; names do not matter (CameraInfo's D became d)."""
    return [_layout(field) for _, field in one] == [_layout(field) for _, field in other]


def _layout(field: Any) -> Any:
    kind, value = field
    if kind in (Nodetype.SEQUENCE, Nodetype.ARRAY):
        inner, size = value
        return kind, _layout(inner), size if kind == Nodetype.ARRAY else 0
    return kind, value
