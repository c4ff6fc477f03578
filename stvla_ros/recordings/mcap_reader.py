"""Reads MCAP files of all kinds of programs; `rosbags` alone reads only those of rosbag2.

Other programs leave out the profile, the summary or parts of it, write messages in another order than that of their
times, or have channels that are no ROS 2 messages. None of this matters for a ROS 2 message. Importing this module
replaces the package's own reader by this one, once for the process.
"""

from collections.abc import Collection, Generator, Iterator
from io import BytesIO
from typing import Any, BinaryIO, NamedTuple

from rosbags.interfaces import Connection, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2 import reader, storage_mcap
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, Schema

from stvla_ros.recordings.bag import RUN
from stvla_ros.recordings.storage_checks import CHUNK, MAGIC, MESSAGE, METADATA, RECORD_HEAD, chunk_head
from stvla_ros.recordings.unpacking import definition_problem
from stvla_ros.safe_files import limit

# Where the first record's content begins, and how that of a rosbag2 does. Any other takes at least as many bytes: it
# has two texts, each with its length before it.
_HEADER = len(MAGIC) + RECORD_HEAD.size
_ROS2_PROFILE = b"\x04\0\0\0ros2"
# Size of channel, sequence number and two times.
_MESSAGE_HEAD_BYTES = 22
_NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, "")
_get_definition = storage_mcap.get_msgdef


class _Loose(NamedTuple):
    """A message outside of all chunks."""

    time_ns: int
    place: int
    size: int
    channel: int


class AnyMcapReader(McapReader):
    """:ivar problems: reason why the definition of a topic's type cannot be read, by topic.
    :ivar run: description of the run by a recorder of this package, see ``BagWriter``.
    """

    problems: dict[str, str]
    run: dict[str, str]

    def _open(self) -> None:
        self.problems, self.run = {}, {}
        file = self.bio
        overlaid: Any = _AsRos2(file)
        self.bio = overlaid
        super()._open()
        self.bio = file
        if not self.chunks:
            self._index_chunks()
        self.connections = [self._checked(connection) for connection in self.connections]
        self._read_run()

    def read_index(self) -> None:
        super().read_index()
        unsaid = [chunk for chunk in self.chunks if not chunk.message_index_offsets]
        if not self.channels or (unsaid and self.statistics is None):
            self.meta_scan()
        for chunk in unsaid:
            chunk.channel_count.update(dict.fromkeys(self.channels, 1))

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """In the order of their times."""
        loose, chunked = self._loose()
        if not loose or chunked:
            yield from super().messages(connections, start, stop)
            return
        by_channel = {connection.id: connection for connection in connections}
        for message in sorted(loose):
            in_time = (start is None or start <= message.time_ns) and (stop is None or message.time_ns < stop)
            if in_time and message.channel in by_channel:
                self.bio.seek(message.place)
                yield by_channel[message.channel], message.time_ns, storage_mcap.read_exact(self.bio, message.size)

    def _checked(self, connection: Connection) -> Connection:
        if problem := definition_problem(connection):
            self.problems[connection.topic] = problem
            return connection._replace(msgdef=_NO_DEFINITION)
        return connection

    def _records(self) -> Iterator[tuple[int, int, int]]:
        """The opcode of each record in the data, and where its content begins and ends."""
        place = self.data_start
        while place < self.data_end:
            self.bio.seek(place)
            opcode, length = RECORD_HEAD.unpack(storage_mcap.read_exact(self.bio, RECORD_HEAD.size))
            begin = place + RECORD_HEAD.size
            yield opcode, begin, begin + length
            place = begin + length

    def _read_run(self) -> None:
        """The description of the run stands before all messages."""
        for opcode, begin, end in self._records():
            if opcode in (CHUNK, MESSAGE):
                return
            if opcode == METADATA and end - begin <= limit("settings_bytes"):
                content = BytesIO(storage_mcap.read_exact(self.bio, end - begin))
                if storage_mcap.read_string(content) == RUN:
                    pairs = BytesIO(storage_mcap.read_bytes(content))
                    while pairs.tell() < len(pairs.getvalue()):
                        name = storage_mcap.read_string(pairs)
                        self.run[name] = storage_mcap.read_string(pairs)

    def _index_chunks(self) -> None:
        """An index of the chunks from their own headers; empty if there are messages outside of chunks."""
        found: list[ChunkInfo] = []
        for opcode, begin, end in self._records():
            if opcode == MESSAGE:
                return
            if opcode == CHUNK:
                head = chunk_head(self.bio, end - begin, begin - RECORD_HEAD.size)
                counts = dict.fromkeys(self.channels, 1)
                sizes = (head.compression.decode(), head.packed, head.unpacked)
                found.append(
                    ChunkInfo(head.first, head.last, begin - RECORD_HEAD.size, end - begin, {}, 0, *sizes, counts)
                )
        self.chunks += found

    def _loose(self) -> tuple[list[_Loose], bool]:
        """The messages outside of chunks, and whether there are chunks."""
        found: list[_Loose] = []
        if self.chunks:
            return found, True
        for opcode, begin, end in self._records():
            if opcode == CHUNK:
                return found, True
            if opcode == MESSAGE:
                channel, _, time_ns, _ = storage_mcap.deserialize_hiqq(
                    storage_mcap.read_exact(self.bio, _MESSAGE_HEAD_BYTES)
                )
                found.append(_Loose(time_ns, begin + _MESSAGE_HEAD_BYTES, end - begin - _MESSAGE_HEAD_BYTES, channel))
        return found, False


class _AsRos2:
    """A file whose header gives rosbag2's profile, whatever it really gives."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        begin = self._file.tell()
        content = self._file.read(size)
        return _ROS2_PROFILE + content[len(_ROS2_PROFILE) :] if begin == _HEADER else content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _definition(schema: Schema | None) -> MessageDefinition:
    """As in rosbags; none for a schema that is no ROS 2 message."""
    try:
        return _get_definition(schema)
    except KeyError:
        return _NO_DEFINITION


def _replace_reader() -> None:
    library: Any = storage_mcap
    library.get_msgdef = _definition
    plugins: Any = (reader.Reader.STORAGE_PLUGINS, reader.DirectoryReader.STORAGE_PLUGINS)
    plugins[0][".mcap"] = plugins[1]["mcap"] = AnyMcapReader


_replace_reader()
