"""Unpacks compressed bytes of a bag within limits, and puts limits on functions of the package `rosbags` that have
none.

`rosbags` unpacks a chunk of any size and compares the size afterwards: 65 kB can fill the memory. Its parser of IDL
definitions tries every reading of nested brackets, so that five of them take minutes. Importing this module replaces
these functions by limited ones, once for the process.
"""

import bz2
import re
from types import SimpleNamespace
from typing import Any

import lz4.frame
from rosbags.highlevel import anyreader
from rosbags.interfaces import Connection, MessageDefinitionFormat, Nodetype
from rosbags.rosbag2 import reader, storage_mcap, storage_sqlite3
from rosbags.typesys import get_types_from_idl, get_types_from_msg
from rosbags.typesys.store import Typestore

from stvla_ros.errors import InputError, reason_of
from stvla_ros.safe_files import check_limit, limit
from stvla_ros.settings import load_yaml

# Python's own module from 3.14 on, before that a package: the same choice as `rosbags` makes.
_library: Any = storage_mcap
zstd = _library.zstd
_AT_ONCE = 1 << 20
_DECOMPRESSORS: dict[str, Any] = {
    "zstd": zstd.ZstdDecompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "bz2": bz2.BZ2Decompressor,
}
# Largest number of elements in arrays of fixed length that a message has by its definition alone, without a byte of
# data.
_MOST_ELEMENTS = 100_000
# Texts that take the parser of IDL exponential time: brackets in a constant, sequences of sequences of sequences.
_SLOW_IDL = re.compile(r"\bconst\b[^;]{0,400}=[^;]{0,400}\(|(sequence\s*<\s*){3}")


def unpack(data: bytes, compression: str, most: int, where: str) -> bytes:
    """
    :param compression: name of the compression: ``zstd``, ``lz4``, ``bz2``, or empty for none.
    :param most: largest number of bytes that may come out.
    :param where: name of the data in the message.
    :raises InputError: as soon as there are more.
    """
    if not compression:
        return data
    # All formats are unpacked as streams, piece by piece, and a file may hold several streams.
    make = _DECOMPRESSORS.get(compression)
    if make is None:
        raise InputError(f"{where}: expected zstd, lz4 or bz2, got the compression {compression[:40]!r}")
    parts: list[bytes] = []
    size = 0
    while data:
        stream: Any = make()
        part = stream.decompress(data, max_length=_AT_ONCE)
        while True:
            size += len(part)
            parts.append(part)
            if size > most:
                raise InputError(f"{where}: expected at most {most} bytes after unpacking, more come out of it")
            if stream.eof:
                break
            if not part and stream.needs_input:
                raise InputError(f"{where}: expected a whole {compression} frame, it breaks off")
            part = stream.decompress(b"", max_length=_AT_ONCE)
        data = stream.unused_data or b""
    return b"".join(parts)


def unpack_chunk(data: bytes, compression: str, size: int) -> bytes:
    """Unpack a chunk that declares its size. :raises InputError: when the size is too large, or not true."""
    check_limit("chunk_bytes", size, "chunk", "bytes unpacked")
    return unpack(data, compression, size, "chunk")


def unpack_bag_message(data: bytes) -> bytes:
    """Unpack a message of a bag whose messages are compressed one by one."""
    return unpack(data, "zstd", limit("chunk_bytes"), "message")


def check_types(types: Typestore) -> None:
    """:raises InputError: when the bag's definition of a message makes it huge even without data."""
    elements: dict[str, int] = {}
    for name in types.fielddefs:
        _elements(types, name, elements)


def _elements(types: Typestore, name: str, known: dict[str, int]) -> int:
    if name in known:
        return known[name]
    known[name] = 0  # a type that contains itself; the library refuses it
    count = 1
    described: Any = types.fielddefs.get(name, ((), ()))
    for _, kind in described[1]:
        times = 1
        if kind[0] == Nodetype.ARRAY:
            kind, times = kind[1]
        if kind[0] == Nodetype.NAME:
            count += times * _elements(types, str(kind[1]), known)
        elif kind[0] == Nodetype.BASE and kind[1][0] in ("string", "wstring"):
            count += times
        if count > _MOST_ELEMENTS:
            raise InputError(f"definition of {name}: expected at most {_MOST_ELEMENTS} elements of fixed arrays")
    known[name] = count
    return count


def _read_idl(text: str) -> Any:
    check_limit("settings_bytes", len(text), "definition in IDL", "characters")
    if _SLOW_IDL.search(text):
        raise InputError("definition in IDL: expected constants without brackets, and no sequences of sequences")
    return get_types_from_idl(text)


def _read_msg(text: str, name: str) -> Any:
    check_limit("settings_bytes", len(text), f"definition of {name[:80]}", "characters")
    return get_types_from_msg(text, name)


def definition_problem(connection: Connection) -> str:
    """Why a topic's type cannot be read by its definition; empty when it can, or has none."""
    definition = connection.msgdef
    library: Any = anyreader
    try:
        if definition.format == MessageDefinitionFormat.MSG:
            library.get_types_from_msg(definition.data, connection.msgtype)
        elif definition.format == MessageDefinitionFormat.IDL:
            for text in _idl_texts(definition.data):
                library.get_types_from_idl(text)
    except Exception as error:  # the parsers' own, of which some are assertions
        return reason_of(error)
    return ""


def _idl_texts(data: str) -> list[str]:
    """A definition in IDL, or several with a line of equal signs and their names before each."""
    rule = "=" * 80 + "\n"
    if not data.startswith(f"{rule}IDL: "):
        return [data]
    return [part.partition("\n")[2] for part in data.split(rule)[1:]]


_parse_qos = reader.parse_qos


def _read_qos(said: Any) -> Any:
    if isinstance(said, str):
        load_yaml(said)  # for its bounds
    return _parse_qos(said)


def _bound_rosbags() -> None:
    places: Any = (reader, storage_mcap, storage_sqlite3)
    for place in places:
        place.parse_qos = _read_qos
    storage_mcap.DECOMPRESSORS["zstd"] = lambda data, size: unpack_chunk(data, "zstd", size)
    storage_mcap.DECOMPRESSORS["lz4"] = lambda data, size: unpack_chunk(data, "lz4", size)
    # Whole files are unpacked before `rosbags` sees them, see bag_files.py.
    replaced: Any = reader
    replaced.zstd = SimpleNamespace(decompress=unpack_bag_message)
    library: Any = anyreader
    library.get_types_from_idl, library.get_types_from_msg = _read_idl, _read_msg


_bound_rosbags()
