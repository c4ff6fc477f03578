"""Writes rosbag2 bags in MCAP."""

from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError
from rosbags.rosbag2.storage_mcap import write_record, write_string, write_uint32
from typing_extensions import Self

from stvla_ros.atomic_files import why_not_written
from stvla_ros.errors import InputError
from stvla_ros.recordings.bag import RUN
from stvla_ros.recordings.message_definitions import MessageDefinitions
from stvla_ros.recordings.storage_checks import METADATA
from stvla_ros.recordings.unpacking import zstd

# The metadata version that every distribution since Iron reads.
_BAG_VERSION: Literal[8] = 8
_NO_TIME = QosTime(0, 0)
# Of a graph's messages 800 MB a second on one core, to a quarter; the library's own level 3: 400 MB/s, to a fifth.
_ZSTD_LEVEL = 1


class BagWriter:
    """A new bag, with chunks packed by zstd, which every reader of MCAP can unpack. Use as a context manager, or call
    `close`, which writes its index. Not thread-safe.

    :param folder: folder of the bag; it must not exist.
    :param run: facts about the run (``bag.RUN``). They stand before all messages, so that they are there in the bag of
        a killed recorder, too.
    :raises InputError: when the folder exists or cannot be made.
    """

    def __init__(self, folder: Path | str, run: Mapping[str, str] | None = None) -> None:
        self.folder = Path(folder)
        self.messages = 0
        self._definitions = MessageDefinitions()
        self._connections: dict[str, Connection] = {}
        try:
            self._writer = Writer(self.folder, version=_BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
            # The storage's own compression: to players of rosbag2 the bag is a plain one.
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
            if run:
                self._write_metadata(run)
        except WriterError:
            raise InputError(f"bag {self.folder}: expected a new folder, it exists already") from None
        except OSError as error:
            raise InputError(f"bag {self.folder}: cannot be written ({why_not_written(error, self.folder)})") from None
        storage: Any = self._writer.storage
        storage.compressor = partial(zstd.compress, level=_ZSTD_LEVEL)

    def _write_metadata(self, run: Mapping[str, str]) -> None:
        storage: Any = self._writer.storage
        pairs, record = BytesIO(), BytesIO()
        for text in (part for pair in run.items() for part in pair):
            write_string(pairs, text)
        write_string(record, RUN)
        write_uint32(record, pairs.tell())
        record.write(pairs.getbuffer())
        write_record(storage.bio, METADATA, record)
        storage.bio.flush()

    @property
    def topics(self) -> list[str]:
        return list(self._connections)

    def add_topic(
        self, topic: str, type_name: str, *, reliable: bool = True, latched: bool = False, depth: int = 10
    ) -> None:
        """Add a topic, so that its messages can be written.

        :param type_name: name of the type, such as sensor_msgs/msg/Image.
        :param reliable: reliability that its publisher offered, so that a player can offer the same; the same holds for
            `latched` and `depth`.
        :raises InputError: when the type's definition cannot be found.
        """
        self._definitions.add(type_name)
        qos = Qos(
            history=QosHistory.KEEP_LAST,
            depth=depth,
            reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
            durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
            deadline=_NO_TIME,
            lifespan=_NO_TIME,
            liveliness=QosLiveliness.AUTOMATIC,
            liveliness_lease_duration=_NO_TIME,
            avoid_ros_namespace_conventions=False,
        )
        self._connections[topic] = self._writer.add_connection(
            topic, type_name, typestore=self._definitions.typestore, offered_qos_profiles=[qos]
        )

    def write(self, topic: str, time_ns: int, cdr: bytes) -> None:
        """Append one message.

        :param topic: topic that was added with `add_topic`.
        :param time_ns: time at which the message was received, nanoseconds.
        :param cdr: serialized message, as it comes from a raw subscription.
        """
        self._writer.write(self._connections[topic], time_ns, cdr)
        self.messages += 1

    def flush(self) -> None:
        """Put on the disk everything written so far: if the recorder is killed, the bag can be read up to here."""
        storage: Any = self._writer.storage
        if storage is not None:
            # The pending chunk would otherwise wait in memory until it has a megabyte.
            if storage.chunk.msgs:
                storage.close_chunk()
            storage.bio.flush()

    def close(self) -> None:
        """Write the index and the metadata."""
        if self._writer.storage:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
