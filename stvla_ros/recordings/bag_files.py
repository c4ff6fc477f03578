"""Opens bags of ROS 1 and 2, also those whose recorder was killed or ran out of disk: what was written is read."""

import contextlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import yaml
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from stvla_ros.errors import InputError
from stvla_ros.recordings import mcap_reader, ros1_reader
from stvla_ros.recordings.bag import Bag
from stvla_ros.recordings.storage_checks import DATA_END, FOOTER, MAGIC, RECORD_HEAD, check_storage
from stvla_ros.recordings.unpacking import check_types, zstd
from stvla_ros.safe_files import check_regular, most_unpacked
from stvla_ros.settings import read_mapping

_READERS = (mcap_reader, ros1_reader)  # by being imported they are in their places
_SUFFIXES = (".mcap", ".db3", ".bag")
# Behind them: compressed as a whole, or still being recorded.
_PACKED, _ACTIVE = (".zstd", ".zst"), ".active"
_METADATA, _INFORMATION = "metadata.yaml", "rosbag2_bagfile_information"
_AT_ONCE = 1 << 20
# Of a split recording's files: rosbag2 and rosbag number them.
_NUMBER = re.compile(r"_(\d{1,9})$")
# By which one of them may begin before the one before it has ended.
_OVERLAP_NS = 1_000_000_000

# No summary: a reader then goes through all records. The two numbers are a length and zeros.
_END = RECORD_HEAD.pack(DATA_END, 4) + bytes(4) + RECORD_HEAD.pack(FOOTER, 20) + bytes(20) + MAGIC


def is_bag(path: Path) -> bool:
    """Whether a file or folder looks like a bag."""
    if path.is_dir():
        return (path / _METADATA).is_file() or any(_is_storage(file) for file in path.iterdir())
    return _is_storage(path)


@contextlib.contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """A rosbag2 folder, its files without their metadata, or one file of a bag: MCAP, SQLite or ROS 1, compressed or
    not. A line on standard error says when an end, or metadata, is missing.

    :raises InputError: for anything but a bag, for a folder with several, and for any error inside the context while a
        damaged one is read.
    """
    try:
        with contextlib.ExitStack() as stack:
            storages = _storages(path, stack)
            bag = stack.enter_context(AnyReader(storages, default_typestore=get_typestore(Stores.ROS2_HUMBLE)))
            _check_succession(storages, bag)
            check_types(bag.typestore)
            yield Bag(path, bag)
    except InputError as error:
        said = str(error)
        raise InputError(said if str(path) in said else f"bag {path}: cannot be read ({said})") from None
    except Exception as error:  # A damaged bag fails in the parsers of several libraries, each with its own errors.
        lines = str(error).splitlines() or [type(error).__name__]
        raise InputError(f"bag {path}: cannot be read ({lines[0]})") from None


def _storages(path: Path, stack: contextlib.ExitStack) -> list[Path]:
    """What is opened: a folder with its metadata, or files, in the order of their numbers; all checked."""
    if not path.is_dir():
        return [_checked_file(path, stack)]
    if (path / _METADATA).is_file():
        content, files = _metadata(path)
        if all(file.exists() for file in files):
            return [_checked_folder(path, content, files, stack)]
        missing = ", ".join(file.name for file in files if not file.exists())
        print(
            f"note: bag {path}: {missing} of its metadata is missing; the files that are there are read",
            file=sys.stderr,
        )
    files = sorted((file for file in path.iterdir() if _is_storage(file)), key=_part)
    if not files or len({_recording(file) for file in files}) > 1:
        names = ", ".join(file.name for file in files[:8]) or "none"
        raise InputError(
            f"bag {path}: expected metadata.yaml, one storage file, or the numbered files of one recording; found "
            f"{names}: name one of them"
        )
    if len(files) > 1:
        print(f"note: bag {path}: no metadata; its {len(files)} files are read as one recording", file=sys.stderr)
    return [_checked_file(file, stack) for file in files]


def _is_storage(file: Path) -> bool:
    return Path(_plain_name(file)).suffix in _SUFFIXES


def _plain_name(file: Path) -> str:
    """Without what stands behind a storage file's own suffix."""
    return file.stem if file.suffix in (*_PACKED, _ACTIVE) else file.name


def _part(file: Path) -> tuple[str, int]:
    """A file's recording and its number in it."""
    stem = Path(_plain_name(file)).stem
    number = _NUMBER.search(stem)
    return (stem[: number.start()], int(number[1])) if number else (stem, -1)


def _recording(file: Path) -> tuple[str, str]:
    return _part(file)[0], Path(_plain_name(file)).suffix


def _checked_file(file: Path, stack: contextlib.ExitStack) -> Path:
    """A storage file, or a copy of it: unpacked, with an end, with the suffix that it is known by."""
    found = file
    check_regular(file)
    if file.suffix in _PACKED:
        found = _unpacked(file, _new_folder(stack))
    elif file.suffix == _ACTIVE:
        found = _new_folder(stack) / file.stem
        found.symlink_to(file.resolve())
    if found.suffix == ".mcap" and not _has_end(found):
        found = with_end(found, _new_folder(stack) / found.name)
        print(f"note: bag {file}: its end is missing; what was written before is read", file=sys.stderr)
    check_storage(found)
    return found


def _check_succession(storages: list[Path], bag: AnyReader) -> None:
    """:raises InputError: for files that were recorded at the same time: they are no parts of one recording."""
    times = [(each.start_time, each.end_time) for each in bag.readers]
    for (name, (_, end)), (next_name, (start, _)) in zip(list(zip(storages, times)), list(zip(storages, times))[1:]):
        if start < end - _OVERLAP_NS:
            raise InputError(
                f"expected files that follow each other, {next_name.name} begins before {name.name} ends: name one"
            )


def _metadata(folder: Path) -> tuple[Any, list[Path]]:
    """A folder's metadata and the files that they name."""
    content = read_mapping(folder / _METADATA, "bag")
    metadata = content.get(_INFORMATION)
    names = metadata.get("relative_file_paths") if isinstance(metadata, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"bag {folder / _METADATA}: expected {_INFORMATION} with relative_file_paths")
    return content, [folder / PurePath(name).name for name in names]


def _checked_folder(folder: Path, content: Any, files: list[Path], stack: contextlib.ExitStack) -> Path:
    """A bag's folder, its storage files checked; a copy where they are compressed as a whole.

    :param content: content of metadata.yaml.
    """
    if str(content[_INFORMATION].get("compression_mode")).lower() == "file":
        copy = _new_folder(stack)
        files = [_unpacked(file, copy) for file in files]
        said = {**content[_INFORMATION], "relative_file_paths": [file.name for file in files]}
        said |= {"compression_mode": "", "compression_format": ""}
        (copy / _METADATA).write_text(yaml.safe_dump({_INFORMATION: said}), encoding="utf-8")
        folder = copy
    for file in files:
        check_storage(file)
    return folder


def _unpacked(file: Path, folder: Path) -> Path:
    """A file that is compressed as a whole, unpacked into a folder within a bound."""
    check_regular(file)
    most, size = most_unpacked(file.stat().st_size), 0
    unpacked = folder / file.stem
    with file.open("rb") as packed, zstd.open(packed, "rb") as source, unpacked.open("wb") as target:
        while part := source.read(_AT_ONCE):
            size += len(part)
            free = shutil.disk_usage(folder).free
            if size > most or free < len(part):
                raise InputError(
                    f"{file}: expected at most {min(most, size + free)} bytes after unpacking, "
                    "more come out of it (limit unpacked_bytes, or too little disk)"
                )
            target.write(part)
    return unpacked


def _new_folder(stack: contextlib.ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stvla-bag-")))


def with_end(file: Path, copy: Path) -> Path:
    """Copy a cut-off MCAP file up to its last complete record, and add an end.

    :raises InputError: when it is no MCAP file.
    """
    size = file.stat().st_size
    with file.open("rb") as source, copy.open("wb") as target:
        if source.read(len(MAGIC)) != MAGIC:
            raise InputError(f"bag {file}: expected an MCAP file, its first bytes are others")
        target.write(MAGIC)
        while len(head := source.read(RECORD_HEAD.size)) == RECORD_HEAD.size:
            opcode, length = RECORD_HEAD.unpack(head)
            if opcode in (DATA_END, FOOTER) or length > size - source.tell():
                break
            target.write(head)
            while length:  # a piece at a time: a record may be as large as the file
                part = source.read(min(length, _AT_ONCE))
                target.write(part)
                length -= len(part)
        target.write(_END)
    return copy


def _has_end(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - len(MAGIC)))
        return stream.read() == MAGIC
