"""One recorded file of a ROS 2 bag: mcap or sqlite3. Which of them a file is, its first bytes decide, not its name."""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import zstandard
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from clip_depth_ros.errors import BadInput
from clip_depth_ros.replay.messages import BagMessage, Definition, TopicInfo, normalise_type

Tell = Callable[[str], None]

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MCAP_MAGIC = b"\x89MCAP"
SQLITE_MAGIC = b"SQLite format 3\x00"
ROS1_MAGIC = b"#ROSBAG V2.0"

# What the mcap library lets through from a damaged file, besides its own errors.
_DAMAGE = (McapError, zstandard.ZstdError, struct.error, ValueError, KeyError, RuntimeError, EOFError, MemoryError)


class Storage(Protocol):
    """One recorded file, read without ROS.

    Attributes:
        topics: every topic that has messages, with the number that can be read.
        definitions: message definitions the file carries, by type.
        start_ns, end_ns: receive time of the first and the last message (nanoseconds); 0 and -1 when there is none.
    """

    topics: list[TopicInfo]
    definitions: dict[str, Definition]
    start_ns: int
    end_ns: int

    def messages(self, topics: set[str] | None) -> Iterator[BagMessage]:
        """Yields the messages of ``topics`` (None: all) in the order of their receive times."""
        ...

    def close(self) -> None:
        """Lets the file go."""
        ...


def decompressed(data: bytes) -> bytes:
    """Undoes per-message zstd; CDR begins with a zero byte, so the first four bytes tell the two apart."""
    if data[:4] == ZSTD_MAGIC:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


class McapStorage:
    """A ``.mcap`` file, chunked (none, lz4, zstd) or not, indexed or not, complete or cut off.

    A file without an index is read from its beginning to where it ends; inside each chunk messages are put in the
    order of their times, between chunks the file's order stays.

    Args:
        path: the file.
        warn: is told, in one sentence, what is unusual.
        lost: is told, in one sentence, what is damaged and cannot be read.
    """

    def __init__(self, path: Path, warn: Tell, lost: Tell) -> None:
        self._path = path
        self._warn, self._tell_lost = warn, lost
        self._indexed = False
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        counts = self._read_index()
        if counts is None:
            counts = self._scan()
        self.topics = self._topics(counts)
        self.definitions = {
            normalise_type(schema.name): Definition(schema.encoding, schema.data.decode("utf-8", "replace"))
            for schema in self._schemas.values()
            if schema.data
        }

    def messages(self, topics: set[str] | None) -> Iterator[BagMessage]:
        """Yields messages in time order; a damaged chunk ends the file with a warning."""
        wanted = {topic.name: topic.type for topic in self.topics if topics is None or topic.name in topics}
        if not wanted:
            return
        records = self._indexed_records(list(wanted)) if self._indexed else self._streamed_records()
        for record in records:
            channel = self._channels[record.channel_id]
            if channel.topic not in wanted:
                continue
            try:
                data = decompressed(record.data)
            except zstandard.ZstdError as error:
                self._tell_lost(
                    f"{self._path.name}: a message on {channel.topic} at {record.log_time} ns is damaged ({error})."
                )
                continue
            yield BagMessage(channel.topic, wanted[channel.topic], record.log_time, data)

    def close(self) -> None:
        """Does nothing: a file is open only while its messages are read."""

    def _read_index(self) -> dict[int, int] | None:
        """Returns message counts by channel from the summary, or None when there is none to trust."""
        with self._path.open("rb") as stream:
            try:
                summary = make_reader(stream).get_summary()
            except _DAMAGE:
                return None
        if summary is None or summary.statistics is None or not summary.chunk_indexes:
            return None
        self._indexed = True
        self._schemas, self._channels = summary.schemas, summary.channels
        statistics = summary.statistics
        self.start_ns, self.end_ns = statistics.message_start_time, statistics.message_end_time
        return statistics.channel_message_counts

    def _scan(self) -> dict[int, int]:
        """Counts what an unindexed or cut-off file holds, and says where it ends early."""
        counts: Counter[int] = Counter()
        damage: list[str] = []
        times = []
        for record in self._streamed_records(damage.append):
            counts[record.channel_id] += 1
            times.append(record.log_time)
        self.start_ns, self.end_ns = (min(times), max(times)) if times else (0, -1)
        if damage:
            seconds = (self.end_ns - self.start_ns) / 1e9 if times else 0.0
            self._tell_lost(
                f"{self._path.name} is cut off or damaged {damage[0]}: "
                f"{len(times)} messages, {seconds:.3f} s of recording, come before that."
            )
        return dict(counts)

    def _topics(self, counts: dict[int, int]) -> list[TopicInfo]:
        merged: dict[str, TopicInfo] = {}
        foreign = set()
        for identifier, count in sorted(counts.items()):
            channel = self._channels.get(identifier)
            schema = self._schemas.get(channel.schema_id) if channel else None
            if channel is None or schema is None or not count:
                continue
            if channel.message_encoding != "cdr":
                foreign.add(f"{channel.topic} ({channel.message_encoding})")
                continue
            before = merged[channel.topic].count if channel.topic in merged else 0
            merged[channel.topic] = TopicInfo(channel.topic, normalise_type(schema.name), before + count)
        if foreign:
            self._warn(f"{self._path.name}: not ROS 2 messages, left out: {', '.join(sorted(foreign))}.")
        return list(merged.values())

    def _indexed_records(self, topics: list[str]) -> Iterator[Message]:
        with self._path.open("rb") as stream:
            try:
                for _, _, message in make_reader(stream).iter_messages(topics=topics):
                    yield message
            except _DAMAGE as error:
                self._tell_lost(
                    f"{self._path.name} holds a damaged chunk: reading ended there ({type(error).__name__})."
                )

    def _streamed_records(self, on_damage: Callable[[str], None] | None = None) -> Iterator[Message]:
        """Yields every message in the file's order; damage ends it quietly, unless somebody wants to know."""
        with self._path.open("rb") as stream:
            try:
                for record in StreamReader(stream, emit_chunks=True).records:
                    yield from self._unpacked(record)
            except _DAMAGE as error:
                if on_damage:
                    on_damage(f"at byte {stream.tell()} ({type(error).__name__})")

    def _unpacked(self, record: Any) -> Iterator[Message]:
        """Yields the messages of one top-level record and remembers the channels it declares."""
        messages = []
        for inner in breakup_chunk(record) if isinstance(record, Chunk) else [record]:
            if isinstance(inner, Schema):
                self._schemas[inner.id] = inner
            elif isinstance(inner, Channel):
                self._channels[inner.id] = inner
            elif isinstance(inner, Message):
                messages.append(inner)
        yield from sorted(messages, key=lambda message: message.log_time)


class SqliteStorage:
    """A ``.db3`` file of rosbag2's sqlite3 plugin, any of its schema versions.

    Args:
        path: the file.
        warn: is told, in one sentence, what is unusual.
        lost: is told, in one sentence, what is damaged and cannot be read.

    Raises:
        BadInput: it is a database, but no bag.
    """

    def __init__(self, path: Path, warn: Tell, lost: Tell) -> None:
        self._path = path
        self._tell_lost = lost
        self._lost = f"{path.name} is damaged: some messages in it are lost."
        # A recording that was interrupted keeps its newest messages in a "-wal" file, which "immutable" would not read.
        journal = path.with_name(path.name + "-wal")
        option = "mode=ro" if journal.is_file() and journal.stat().st_size else "immutable=1"
        try:
            self._connection = sqlite3.connect(f"{path.resolve().as_uri()}?{option}", uri=True, check_same_thread=False)
            self._read_topics()
        except sqlite3.Error as error:
            raise BadInput(f"{path} is a database that cannot be read as a bag ({error}).") from error

    def messages(self, topics: set[str] | None) -> Iterator[BagMessage]:
        """Yields messages in time order; a damaged page ends the file with a warning."""
        wanted = [key for key, topic in self._by_id.items() if topics is None or topic.name in topics]
        marks = ",".join("?" * len(wanted))
        query = f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) ORDER BY timestamp"
        try:
            for topic_id, time_ns, data in self._connection.execute(query, wanted):
                if time_ns is None or data is None:
                    self._tell_lost(self._lost)
                    continue
                topic = self._by_id[topic_id]
                yield BagMessage(topic.name, topic.type, time_ns, decompressed(data))
        except (sqlite3.Error, zstandard.ZstdError) as error:
            self._tell_lost(f"{self._path.name} is damaged: reading ended there ({error}).")

    def close(self) -> None:
        """Closes the database."""
        self._connection.close()

    def _read_topics(self) -> None:
        run = self._connection.execute
        counts: dict[int, int] = {}
        times: list[int] = []
        for topic_id, count, first, last in run(
            "SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp) FROM messages GROUP BY topic_id"
        ):
            if None in (topic_id, first):  # a damaged page reads as rows of nothing
                self._tell_lost(self._lost)
                continue
            counts[topic_id] = count
            times += [first, last]
        self._by_id = {
            key: TopicInfo(name, normalise_type(kind), counts[key])
            for key, name, kind, serialisation in run("SELECT id, name, type, serialization_format FROM topics")
            if key in counts and serialisation == "cdr"
        }
        self.topics = list(self._by_id.values())
        self.start_ns, self.end_ns = (min(times), max(times)) if times else (0, -1)
        self.definitions: dict[str, Definition] = {}
        if run("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'message_definitions'").fetchone():
            columns = "topic_type, encoding, encoded_message_definition"
            for name, encoding, text in run(f"SELECT {columns} FROM message_definitions"):
                self.definitions[normalise_type(name)] = Definition(encoding, text)
