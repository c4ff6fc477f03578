"""Opens bags, also those whose recorder was killed or ran out of disk: what was written before is read."""

import contextlib
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from stvla_ros.errors import InputError

BAG_SUFFIXES = (".mcap", ".db3")

# The MCAP format (https://mcap.dev/spec): magic bytes, then records of an opcode, a length and so many bytes.
_MAGIC = b"\x89MCAP0\r\n"
_RECORD_HEAD = struct.Struct("<BQ")
_FOOTER, _DATA_END = 0x02, 0x0F
# No summary: a reader then goes through all records. The two are a length and zeros.
_END = _RECORD_HEAD.pack(_DATA_END, 4) + bytes(4) + _RECORD_HEAD.pack(_FOOTER, 20) + bytes(20) + _MAGIC


def is_bag(path: Path) -> bool:
    """Whether a file or folder is meant as a bag."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or any(file.suffix in BAG_SUFFIXES for file in path.iterdir())
    return path.suffix in BAG_SUFFIXES


@contextlib.contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """A rosbag2 folder or storage file. A line on standard error says when its end is missing.

    :raises InputError: not a bag, or several in one folder; and for whatever reading a damaged one raises inside the
        context.
    """
    try:
        with contextlib.ExitStack() as stack:
            storage = _storage(path)
            if storage.suffix == ".mcap" and not _has_end(storage):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stvla-bag-"))
                storage = with_end(storage, Path(folder) / storage.name)
                print(f"note: bag {path}: its end is missing; what was written before is read", file=sys.stderr)
            yield stack.enter_context(AnyReader([storage], default_typestore=get_typestore(Stores.ROS2_HUMBLE)))
    except InputError:
        raise
    except Exception as error:  # A damaged bag fails in the parsers of several libraries, each with its own errors.
        lines = str(error).splitlines() or [type(error).__name__]
        raise InputError(f"bag {path}: cannot be read ({lines[0]})") from None


def with_end(file: Path, copy: Path) -> Path:
    """A copy of a cut-off MCAP file up to its last complete record, and an end.

    :raises InputError: when it is no MCAP file.
    """
    size = file.stat().st_size
    with file.open("rb") as source, copy.open("wb") as target:
        if source.read(len(_MAGIC)) != _MAGIC:
            raise InputError(f"bag {file}: expected an MCAP file, its first bytes are others")
        target.write(_MAGIC)
        while len(head := source.read(_RECORD_HEAD.size)) == _RECORD_HEAD.size:
            opcode, length = _RECORD_HEAD.unpack(head)
            if opcode in (_DATA_END, _FOOTER) or length > size - source.tell():
                break
            target.write(head)
            target.write(source.read(length))
        target.write(_END)
    return copy


def _has_end(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - len(_MAGIC)))
        return stream.read() == _MAGIC


def _storage(path: Path) -> Path:
    """The bag's folder; its only storage file where a crashed recorder left no metadata."""
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        files = [file for file in path.iterdir() if file.suffix in BAG_SUFFIXES]
        if len(files) != 1:
            raise InputError(f"bag {path}: expected metadata.yaml or one storage file, found {len(files)} of them")
        return files[0]
    return path
