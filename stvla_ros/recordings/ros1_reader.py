"""Reads ROS 1 bags as `rosbags` does, but within the limits of all recordings. Importing this module replaces the
package's own reader by this one, once for the process.
"""

import heapq
from typing import Any

from rosbags.highlevel import anyreader
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag1 import Reader, reader

from stvla_ros.errors import InputError
from stvla_ros.recordings.unpacking import definition_problem, unpack
from stvla_ros.safe_files import limit, most_unpacked

_NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, "")


class BoundedRos1Reader(Reader):
    """:ivar problems: reason why the definition of a topic's type cannot be read, by topic."""

    def open(self) -> None:
        super().open()
        self.problems: dict[str, str] = {}
        try:
            self._check_order()
        except InputError:
            self.close()
            raise
        for number, connection in enumerate(self.connections):
            # A relay writes no hash of a definition; each message is read with the definition in the bag.
            changed = connection._replace(digest="")
            if problem := definition_problem(connection):
                self.problems[connection.topic] = problem
                changed = changed._replace(msgdef=_NO_DEFINITION)
            self.connections[number] = changed

    def _check_order(self) -> None:
        """A chunk is unpacked again each time that the order of the messages' times returns to it."""
        sizes = {place: chunk.datasize for place, chunk in self.chunks.items()}
        most, read, last = most_unpacked(self.path.stat().st_size), 0, -1
        for entry in heapq.merge(*self.indexes.values()):
            if entry.chunk_pos != last:
                last = entry.chunk_pos
                read += sizes[last]
                if read > most:
                    raise InputError(
                        "expected messages in about the order of their times, its chunks would be unpacked again and "
                        "again (limit unpacked_bytes)"
                    )


def _unpack(compression: str) -> Any:
    return lambda data: unpack(data, compression, limit("chunk_bytes"), "chunk")


def _replace_reader() -> None:
    for compression in ("bz2", "lz4"):
        reader.decompressors[compression] = _unpack(compression)
    library: Any = anyreader
    library.Reader1 = BoundedRos1Reader


_replace_reader()
