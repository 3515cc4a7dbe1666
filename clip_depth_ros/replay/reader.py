"""Reads a recording, whatever wrote it, without ROS: ROS 2 bags as folders or single files, and ROS 1 bags."""

from __future__ import annotations

import heapq
import re
import shutil
import struct
import tempfile
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
import zstandard
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay import topics as topic_choice
from clip_depth_ros.replay.messages import BagMessage, TopicInfo
from clip_depth_ros.replay.storage import (
    MCAP_MAGIC,
    ROS1_MAGIC,
    SQLITE_MAGIC,
    ZSTD_MAGIC,
    McapStorage,
    SqliteStorage,
    Storage,
)
from clip_depth_ros.replay.storage_ros1 import Ros1Storage

METADATA = "metadata.yaml"
_BAG_FILE = re.compile(r"\.(mcap|db3|bag)(\.zst|\.zstd)?$")


class BagReader:
    """A recording: topics, raw messages in time order, and decoded messages.

    Reads a ROS 2 bag folder, one ``.mcap`` or ``.db3`` file of it, or a ROS 1 ``.bag`` file (converted to ROS 2's CDR).
    Compression by chunk (zstd, lz4), by file or by message (zstd) is undone. A folder may lack its ``metadata.yaml``,
    and files that it lists may be absent: what is there is read, and :attr:`warnings` says what was not.

    Args:
        path: the folder or file.

    Attributes:
        warnings: sentences about what is unusual or was not read; more may come while messages are read.
        damage: those of them about a file that is cut off or damaged.

    Raises:
        BadInput: it does not exist, is no bag, or no message in it can be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.warnings: list[str] = []
        self.damage: list[str] = []
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._storages: list[Storage] = []
        try:
            self._storages = [self._open(file) for file in self._files()]
            self.topics = self._merged_topics()
            if not self.topics:
                detail = " " + " ".join(self.warnings) if self.warnings else ""
                raise BadInput(f"{self.path} holds no message that can be read: record it again.{detail}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def start_ns(self) -> int:
        """Receive time of the first message (nanoseconds)."""
        return min(storage.start_ns for storage in self._storages if storage.topics)

    @property
    def end_ns(self) -> int:
        """Receive time of the last message (nanoseconds)."""
        return max(storage.end_ns for storage in self._storages if storage.topics)

    @property
    def duration_s(self) -> float:
        """Time between the first and the last message (seconds)."""
        return (self.end_ns - self.start_ns) / 1e9

    def messages(self, topics: Iterable[str] | None = None) -> Iterator[BagMessage]:
        """Yields the messages of ``topics`` (None: all) in the order of their receive times.

        Files that do not overlap in time, as splits do not, are opened one after the other.
        """
        wanted = None if topics is None else set(topics)
        for together in self._overlapping():
            streams = [storage.messages(wanted) for storage in together]
            yield from heapq.merge(*streams, key=lambda message: message.time_ns)

    def decode(self, message: BagMessage) -> Any:
        """Returns a message as a rosbags object: the fields of its type, arrays as read-only numpy views.

        Raises:
            BadInput: its type is unknown here and the bag does not define it, or its bytes do not fit the type.
        """
        try:
            return self.typestore.deserialize_cdr(message.data, message.type)
        except (KeyError, TypesysError) as error:
            raise BadInput(f"{message.topic} is a {message.type}, which {self.path} does not define.") from error
        except (SerdeError, struct.error, ValueError, IndexError, AssertionError) as error:
            raise BadInput(f"A message on {message.topic} is not a whole {message.type} ({error}).") from error

    def require_topic(self, kind: str, name: str = "", near: str = "") -> TopicInfo:
        """Returns the topic that holds ``kind``; see :func:`clip_depth_ros.replay.topics.require_topic`."""
        return topic_choice.require_topic(self, kind, name, near)

    def close(self) -> None:
        """Lets all files go and removes what was decompressed to disk."""
        for storage in self._storages:
            storage.close()
        if self._scratch:
            self._scratch.cleanup()
            self._scratch = None

    @cached_property
    def typestore(self) -> Typestore:
        """ROS 2's message types (Jazzy's) and those that only this bag defines."""
        for storage in self._storages:
            if isinstance(storage, Ros1Storage):
                return storage.typestore
        store = get_typestore(Stores.ROS2_JAZZY)
        for storage in self._storages:
            for name, definition in storage.definitions.items():
                if name not in store.fielddefs:
                    self._register(store, name, definition.encoding, definition.text)
        return store

    def _warn(self, sentence: str) -> None:
        if sentence not in self.warnings:  # messages may be read several times
            self.warnings.append(sentence)

    def _lose(self, sentence: str) -> None:
        self._warn(sentence)
        if sentence not in self.damage:
            self.damage.append(sentence)

    def _register(self, store: Typestore, name: str, encoding: str, text: str) -> None:
        try:
            types = get_types_from_idl(text) if encoding == "ros2idl" else get_types_from_msg(text, name)
            store.register({key: fields for key, fields in types.items() if key not in store.fielddefs})
        except TypesysError as error:
            self._warn(f"{name} cannot be decoded: the bag's definition of it is not understood ({error}).")

    def _files(self) -> list[Path]:
        """Returns the files of the recording in their order."""
        if self.path.is_file():
            return [self.path]
        if not self.path.is_dir():
            raise BadInput(f"{self.path} does not exist: give a bag folder, or a .mcap, .db3 or .bag file.")
        try:
            inside = [file for file in self.path.iterdir() if _BAG_FILE.search(file.name) and file.is_file()]
        except OSError as error:
            raise BadInput(f"{self.path} cannot be read ({error.strerror}): look at its permissions.") from error
        found = sorted(inside, key=_natural_order)
        listed = self._listed()
        absent = [name for name in listed if not (self.path / name).is_file()]
        if absent:
            names = ", ".join(absent[:3]) + (", ..." if len(absent) > 3 else "")
            self._warn(f"{METADATA} lists {len(absent)} absent file(s), read without them: {names}.")
        present = [self.path / name for name in listed if (self.path / name).is_file()]
        files = present or found
        if not files:
            raise BadInput(f"{self.path} is not a bag: it holds no .mcap, .db3 or .bag file.")
        return files

    def _listed(self) -> list[str]:
        """Returns the file names in metadata.yaml; none when it is missing or damaged."""
        metadata = self.path / METADATA
        if not metadata.is_file():
            return []
        try:
            content = yaml.safe_load(metadata.read_text(encoding="utf-8"))
            # Old recorders wrote the folder's name into each path.
            paths = content["rosbag2_bagfile_information"]["relative_file_paths"]
            return list(dict.fromkeys(Path(str(name)).name for name in paths))
        except (yaml.YAMLError, KeyError, TypeError, OSError, UnicodeDecodeError) as error:
            self._warn(f"{metadata} is damaged ({type(error).__name__}): all bag files beside it are read.")
            return []

    def _open(self, path: Path) -> Storage:
        try:
            with path.open("rb") as stream:
                start = stream.read(16)
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror}): look at its permissions.") from error
        if start.startswith(ZSTD_MAGIC):
            return self._open_unpacked(path)
        if start.startswith(MCAP_MAGIC):
            return McapStorage(path, self._warn, self._lose)
        if start.startswith(SQLITE_MAGIC):
            return SqliteStorage(path, self._warn, self._lose)
        if start.startswith(ROS1_MAGIC):
            return Ros1Storage(path, self._warn, self._lose)
        what = "is empty" if not start else "is not a bag"
        raise BadInput(f"{path} {what}: give a bag folder, or a .mcap, .db3 or .bag file.")

    def _open_unpacked(self, path: Path) -> Storage:
        unpacked = self._unpack(path)
        try:
            return self._open(unpacked)
        except BadInput as error:  # the user knows nothing of that file
            raise BadInput(str(error).replace(str(unpacked), str(path))) from error

    def _unpack(self, path: Path) -> Path:
        """Decompresses a whole file (per-file zstd) to a temporary folder."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="clip_depth_bag_")
        target = Path(self._scratch.name) / path.stem
        try:
            with path.open("rb") as source, target.open("wb") as sink:
                shutil.copyfileobj(zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True), sink)
        except zstandard.ZstdError as error:
            raise BadInput(f"{path} cannot be decompressed ({error}): copy it again.") from error
        except OSError as error:
            raise BadInput(
                f"{path} cannot be decompressed to {target.parent} ({error.strerror}): set TMPDIR."
            ) from error
        return target

    def _merged_topics(self) -> dict[str, TopicInfo]:
        merged: dict[str, TopicInfo] = {}
        for storage in self._storages:
            for topic in storage.topics:
                before = merged[topic.name].count if topic.name in merged else 0
                merged[topic.name] = TopicInfo(topic.name, topic.type, before + topic.count)
        return dict(sorted(merged.items()))

    def _overlapping(self) -> Iterator[list[Storage]]:
        """Groups the files that overlap in time; groups come in the order of their times."""
        group: list[Storage] = []
        end = 0
        for storage in sorted((one for one in self._storages if one.topics), key=lambda one: one.start_ns):
            if group and storage.start_ns > end:
                yield group
                group = []
            end = max(end, storage.end_ns) if group else storage.end_ns
            group.append(storage)
        if group:
            yield group


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Sorts ``bag_10`` after ``bag_9``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
