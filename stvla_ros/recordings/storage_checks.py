"""Checks a bag's storage files before they are read: the sizes that they declare, and whether these can be true."""

import sqlite3
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

from stvla_ros.errors import InputError
from stvla_ros.recordings.ros1_checks import check_ros1_bag
from stvla_ros.safe_files import check_limit, check_regular, most_unpacked

# The MCAP format (https://mcap.dev/spec): magic bytes, then records, each an opcode, a length and that many bytes.
MAGIC = b"\x89MCAP0\r\n"
RECORD_HEAD = struct.Struct("<BQ")
FOOTER, DATA_END, MESSAGE, CHUNK, CHUNK_INDEX, METADATA = 0x02, 0x0F, 0x05, 0x06, 0x08, 0x0C
_CHUNK_TIMES, _SIZE, _TEXT, _PAIR = (
    struct.Struct("<QQQI"),
    struct.Struct("<Q"),
    struct.Struct("<I"),
    struct.Struct("<QQ"),
)
_LONGEST_INDEX = 16 << 20
# Chunks that overlap in time are unpacked together.
_OVERLAP = 10


class ChunkHead(NamedTuple):
    """What a chunk says of itself: the times of its messages, how it is packed, and its sizes in bytes."""

    first: int
    last: int
    compression: bytes
    packed: int
    unpacked: int


def check_storage(file: Path) -> None:
    """:raises InputError: for a file that would take too much memory or time, or whose parts contradict each other."""
    check_regular(file)
    if file.suffix == ".db3":
        _check_sqlite(file)
        return
    if file.suffix == ".bag":
        check_ros1_bag(file)
        return
    with file.open("rb") as stream:
        if stream.read(len(MAGIC)) == MAGIC:
            _check_mcap(stream, file.stat().st_size)


# --- MCAP -------------------------------------------------------------------------------------------------------------


def _check_mcap(stream: BinaryIO, size: int) -> None:
    """:param stream: stream after the magic bytes."""
    chunks: dict[int, tuple[int, int]] = {}
    times: list[tuple[int, int, int]] = []
    index: list[tuple[int, int, int]] = []
    unpacked = 0
    place = len(MAGIC)
    while len(head := stream.read(RECORD_HEAD.size)) == RECORD_HEAD.size:
        opcode, length = RECORD_HEAD.unpack(head)
        begin = place + RECORD_HEAD.size
        if length > size - begin:
            raise InputError(f"record at byte {place}: expected at most {size - begin} bytes in the file, got {length}")
        try:
            if opcode == CHUNK:
                head_of = chunk_head(stream, length, place)
                chunks[place] = (head_of.packed, head_of.unpacked)
                times.append((head_of.first, head_of.last, head_of.unpacked))
                unpacked += head_of.unpacked
            elif opcode == CHUNK_INDEX:
                index.append(_indexed(stream.read(min(length, _LONGEST_INDEX)), chunks, place))
        except (struct.error, UnicodeDecodeError):
            raise InputError(f"record at byte {place}: expected a whole chunk or index, it breaks off") from None
        if opcode == FOOTER:
            break
        place = begin + length
        stream.seek(place)
    most = most_unpacked(size)
    if unpacked > most:
        raise InputError(
            f"expected at most {most} bytes after unpacking, its chunks say {unpacked} (limit unpacked_bytes)"
        )
    # Without an index, chunks are read by their own times.
    at_once = _overlapping(index or times) / _OVERLAP
    check_limit("chunk_bytes", at_once, "chunks of one time", "bytes unpacked and divided by 10")


def chunk_head(stream: BinaryIO, length: int, place: int) -> ChunkHead:
    """The header of a chunk.

    :param stream: file, at the content of the chunk's record.
    :param length: number of bytes of that content.
    :param place: byte at which the record begins, for messages.
    :raises InputError: when the header contradicts itself, or the chunk is larger than the limit.
    :raises struct.error: when the header breaks off.
    """
    first, last, unpacked, _ = _CHUNK_TIMES.unpack(stream.read(_CHUNK_TIMES.size))
    (letters,) = _TEXT.unpack(stream.read(_TEXT.size))
    compression = stream.read(min(letters, 16))
    (packed,) = _SIZE.unpack(stream.read(_SIZE.size))
    where = f"chunk at byte {place}"
    if letters > 16 or packed > length:
        raise InputError(f"{where}: expected at most {length} packed bytes, got {packed}")
    if not compression and packed != unpacked:
        raise InputError(f"{where}: expected equal sizes of an uncompressed chunk, got {packed} and {unpacked} bytes")
    check_limit("chunk_bytes", unpacked, where, "bytes unpacked")
    return ChunkHead(first, last, compression, packed, unpacked)


def _indexed(record: bytes, chunks: dict[int, tuple[int, int]], place: int) -> tuple[int, int, int]:
    """From a chunk's index: the times of its first and last message, and its unpacked size. Every chunk has an
    index.
    """
    first, last, chunk, _ = struct.unpack_from("<QQQQ", record)
    (offsets,) = _TEXT.unpack_from(record, 32)
    rest = 36 + offsets + 8  # behind the offsets, and their length
    (letters,) = _TEXT.unpack_from(record, rest)
    sizes = _PAIR.unpack_from(record, rest + 4 + letters)
    if chunks.pop(chunk, None) != sizes:
        raise InputError(f"index at byte {place}: expected one index of each chunk, with the chunk's own sizes")
    return first, last, sizes[1]


def _overlapping(index: list[tuple[int, int, int]]) -> int:
    """The largest number of bytes in chunks that overlap in time."""
    changes = sorted([(first, size) for first, _, size in index] + [(last + 1, -size) for _, last, size in index])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


# --- SQLite -----------------------------------------------------------------------------------------------------------


def _check_sqlite(file: Path) -> None:
    """Accept only plain tables whose pages all exist and are used once: a view or a computed column can be endless, and
    so can a tree whose branches meet.
    """
    place = f"file:{quote(str(file.resolve()))}?mode=ro&immutable=1"
    connection = sqlite3.connect(place, uri=True)
    try:
        for kind, name, made in connection.execute("SELECT type, name, sql FROM sqlite_master LIMIT 1000").fetchall():
            virtual = " ".join(str(made).split()).upper().startswith("CREATE VIRTUAL")
            if kind not in ("table", "index") or virtual:
                raise InputError(f"expected plain tables, got the {'virtual table' if virtual else kind} {name!r}")
            if kind == "table":
                columns = connection.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (name,)).fetchall()
                computed = [column for column, hidden in columns if hidden]
                if computed:
                    raise InputError(f"table {name}: expected plain columns, {computed[0]!r} is computed")
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise InputError(f"expected a whole database ({' '.join(str(found).split())[:160]})")
    finally:
        connection.close()
