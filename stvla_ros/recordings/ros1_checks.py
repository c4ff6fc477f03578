"""ROS 1 bags (format 2.0, http://wiki.ros.org/Bags/Format/2.0), looked at before they are read."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from stvla_ros.errors import InputError
from stvla_ros.safe_files import check_limit, most_unpacked

MAGIC = b"#ROSBAG V2.0\n"
_BAG_HEADER, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = 3, 4, 5, 6, 7
_NUMBER = struct.Struct("<I")
_PLACE = struct.Struct("<Q")
# Of a record: a few fields, the longest is a topic's name.
_LONGEST_HEADER = 1 << 20


class _Record(NamedTuple):
    """:param place: byte at which the record begins.
    :param data: number of bytes that follow its header.
    """

    place: int
    fields: dict[bytes, bytes]
    data: int

    def number(self, name: bytes, form: struct.Struct = _NUMBER) -> int:
        try:
            (value,) = form.unpack(self.fields[name])
        except (KeyError, struct.error):
            raise InputError(f"record at byte {self.place}: expected the field {name.decode()}") from None
        return value


def check_ros1_bag(file: Path) -> None:
    """:raises InputError: for a bag without index, and for one that would take too much memory or time, or whose parts
    contradict each other.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise InputError("expected a ROS 1 bag of format 2.0, its first bytes are others")
        records = list(_records(stream, size))
    if not records or records[0].fields.get(b"op") != bytes([_BAG_HEADER]):
        raise InputError("expected a ROS 1 bag's header")
    head = records[0]
    begin = head.number(b"index_pos", _PLACE)
    if not begin:
        raise InputError("its recorder was killed, it has no index: `rosbag reindex` makes one")
    by_kind = {kind: [each for each in records if each.fields.get(b"op") == bytes([kind])] for kind in range(2, 8)}
    chunks = {each.place: each.number(b"size") for each in by_kind[_CHUNK]}
    for place, unpacked in chunks.items():
        check_limit("chunk_bytes", unpacked, f"chunk at byte {place}", "bytes unpacked")
    unpacked, most = sum(chunks.values()), most_unpacked(size)
    if unpacked > most:
        raise InputError(
            f"expected at most {most} bytes after unpacking, its chunks say {unpacked} (limit unpacked_bytes)"
        )
    _check_index(head, begin, records, by_kind, chunks)


def _check_index(
    head: _Record, begin: int, records: list[_Record], by_kind: dict[int, list[_Record]], chunks: dict[int, int]
) -> None:
    """The index is read from there on, and each of its entries once."""
    told = [each for each in by_kind[_CHUNK_INFO] if each.place >= begin]
    known = [each for each in by_kind[_CONNECTION] if each.place >= begin]
    counts = (head.number(b"conn_count"), head.number(b"chunk_count"))
    # A bag without messages has no index, and its header says so.
    if counts[1] and (counts != (len(known), len(told)) or begin not in {each.place for each in records}):
        raise InputError(
            f"expected an index of {counts[0]} connections and {counts[1]} chunks at byte {begin}, got {len(known)} "
            f"and {len(told)}"
        )
    places = [each.number(b"chunk_pos", _PLACE) for each in told]
    if len(set(places)) < len(places) or not set(places) <= chunks.keys():
        raise InputError("expected one index entry of each chunk")
    if sum(each.number(b"count") for each in told) > len(by_kind[_INDEX]):
        raise InputError("expected an index of each connection in each chunk, some are missing")


def _records(stream: BinaryIO, size: int) -> Iterator[_Record]:
    """Of the file, not of what is in its chunks."""
    place = stream.tell()
    while place < size:
        header = stream.read(_length(stream, place, min(_LONGEST_HEADER, size - place)))
        data = _length(stream, place, size - stream.tell())
        yield _Record(place, dict(_fields(header, place)), data)
        place = stream.tell() + data
        stream.seek(place)


def _length(stream: BinaryIO, place: int, most: int) -> int:
    octets = stream.read(_NUMBER.size)
    if len(octets) < _NUMBER.size:
        raise InputError(f"record at byte {place}: expected a whole one, it breaks off")
    (length,) = _NUMBER.unpack(octets)
    if length > most:
        raise InputError(f"record at byte {place}: expected at most {most} bytes, got {length}")
    return length


def _fields(header: bytes, place: int) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(header):
        if at + _NUMBER.size > len(header):
            raise InputError(f"record at byte {place}: expected whole fields, they break off")
        (length,) = _NUMBER.unpack_from(header, at)
        name, equals, value = header[at + _NUMBER.size : at + _NUMBER.size + length].partition(b"=")
        if not equals:
            raise InputError(f"record at byte {place}: expected fields name=value")
        yield name, value
        at += _NUMBER.size + length
