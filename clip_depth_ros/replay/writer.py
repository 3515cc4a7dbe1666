"""Writes a ROS 2 bag (mcap, chunks compressed with zstd) without ROS."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.messages import normalise_type

_ENDLESS = QosTime(9_223_372_036, 854_775_807)  # how rmw writes "no limit"
# Who looks up transforms asks for those sent before; a player that offers less is not heard.
_LATCHED = Qos(
    history=QosHistory.KEEP_LAST,
    depth=100,
    reliability=QosReliability.RELIABLE,
    durability=QosDurability.TRANSIENT_LOCAL,
    deadline=_ENDLESS,
    lifespan=_ENDLESS,
    liveliness=QosLiveliness.AUTOMATIC,
    liveliness_lease_duration=_ENDLESS,
    avoid_ros_namespace_conventions=False,
)


class BagWriter:
    """A new bag folder with one ``.mcap`` file and its ``metadata.yaml``.

    Everything is written under a temporary name beside ``path`` and renamed by :meth:`close`; leaving the ``with``
    block by an exception leaves nothing behind.

    Args:
        path: the folder to make.
        overwrite: replace a bag that is there. Something that is no bag is never replaced.

    Raises:
        BadInput: ``path`` exists (and may not be replaced), or its folder cannot be written.
    """

    def __init__(self, path: Path | str, overwrite: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists():
            if not overwrite:
                raise BadInput(f"{self.path} exists already: choose another name, or ask for it to be overwritten.")
            if not (self.path / "metadata.yaml").is_file():
                raise BadInput(f"{self.path} exists and is not a bag: choose another name, it is not overwritten.")
        self.typestore = get_typestore(Stores.ROS2_JAZZY)
        self._temporary = self.path.parent / f".{self.path.name}.{os.getpid()}"
        self._connections: dict[str, Connection] = {}
        self._open = True
        # The file inside is named after its folder, so the folder under the temporary one has the final name already.
        # Version 9 writes QoS in a form that Humble's rosbag2 cannot read; 8 is read by all since.
        target = self._temporary / self.path.name
        self._writer = Writer(target, version=8, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        try:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._writer.open()
        except OSError as error:
            raise BadInput(
                f"{self.path} cannot be written ({error.strerror}): choose a folder you can write to."
            ) from error

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, topic: str, message_type: str, time_ns: int, data: bytes) -> None:
        """Adds one serialised message.

        Args:
            topic: its topic.
            message_type: its type, ``package/msg/Name``.
            time_ns: receive time (nanoseconds).
            data: CDR with its encapsulation.

        Raises:
            BadInput: ROS 2 has no such type, the topic has another type already, or the disk is full.
        """
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._connect(topic, normalise_type(message_type))
        elif connection.msgtype != normalise_type(message_type):
            raise BadInput(
                f"{topic} is a {connection.msgtype} in {self.path}: it cannot take a {message_type} as well."
            )
        try:
            self._writer.write(connection, time_ns, data)
        except OSError as error:
            raise BadInput(f"{self.path} cannot be written ({error.strerror}): free some space.") from error

    def write_message(self, topic: str, time_ns: int, message: Any) -> None:
        """Adds one rosbags object (made with the types of :attr:`typestore`, or decoded from another bag)."""
        name = message.__msgtype__
        self.write(topic, name, time_ns, bytes(self.typestore.serialize_cdr(message, name)))

    def close(self) -> None:
        """Completes the bag and gives it its name.

        Raises:
            BadInput: the disk is full, or something else took the name meanwhile.
        """
        if not self._open:
            return
        self._open = False
        try:
            self._writer.close()
            self._take_name()
        except OSError as error:
            raise BadInput(f"{self.path} cannot be written ({error.strerror}): free some space.") from error
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _take_name(self) -> None:
        replaced = self._temporary / "replaced"
        if self.path.exists():
            self.path.rename(replaced)
        try:
            (self._temporary / self.path.name).rename(self.path)
        except OSError:
            if replaced.exists():
                replaced.rename(self.path)
            raise

    def abort(self) -> None:
        """Throws away what was written."""
        if self._open:
            self._open = False
            del self._writer  # old versions of rosbags have no other way to let the file go unfinished
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _connect(self, topic: str, message_type: str) -> Connection:
        if message_type not in self.typestore.fielddefs:
            raise BadInput(f"{topic} is a {message_type}, which ROS 2's common interfaces do not have: leave it out.")
        self._connections[topic] = self._writer.add_connection(
            topic,
            message_type,
            typestore=self.typestore,
            offered_qos_profiles=[_LATCHED] if topic.rpartition("/")[2] == "tf_static" else [],
        )
        return self._connections[topic]
