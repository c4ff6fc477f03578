"""Opens bags, also those whose recorder was killed or ran out of disk: everything written before is read."""

import contextlib
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
from stvla_ros.recordings.storage_checks import DATA_END, FOOTER, MAGIC, RECORD_HEAD, check_storage, most_unpacked
from stvla_ros.recordings.unpacking import check_types, zstd
from stvla_ros.safe_files import check_regular
from stvla_ros.settings import read_mapping

BAG_SUFFIXES = (".mcap", ".db3")
_METADATA, _INFORMATION = "metadata.yaml", "rosbag2_bagfile_information"
_AT_ONCE = 1 << 20

# No summary: a reader then goes through all records. The two numbers are a length and zeros.
_END = RECORD_HEAD.pack(DATA_END, 4) + bytes(4) + RECORD_HEAD.pack(FOOTER, 20) + bytes(20) + MAGIC


def is_bag(path: Path) -> bool:
    """Whether a file or folder looks like a bag."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or any(file.suffix in BAG_SUFFIXES for file in path.iterdir())
    return path.suffix in BAG_SUFFIXES


@contextlib.contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """Open a rosbag2 folder or storage file. A line on standard error says if its end is missing.

    :raises InputError: for anything but a bag, for a folder with several, and for any error inside the context while a
        damaged one is read.
    """
    try:
        with contextlib.ExitStack() as stack:
            storage = _storage(path)
            if storage.is_dir():
                storage = _checked_folder(storage, stack)
            else:
                check_regular(storage)
                if storage.suffix == ".mcap" and not _has_end(storage):
                    storage = with_end(storage, _new_folder(stack) / storage.name)
                    print(f"note: bag {path}: its end is missing; everything written before is read", file=sys.stderr)
                check_storage(storage)
            bag = stack.enter_context(AnyReader([storage], default_typestore=get_typestore(Stores.ROS2_HUMBLE)))
            check_types(bag.typestore)
            yield bag
    except InputError as error:
        said = str(error)
        raise InputError(said if str(path) in said else f"bag {path}: cannot be read ({said})") from None
    except Exception as error:  # A damaged bag fails in the parsers of several libraries, each with its own errors.
        lines = str(error).splitlines() or [type(error).__name__]
        raise InputError(f"bag {path}: cannot be read ({lines[0]})") from None


def _checked_folder(folder: Path, stack: contextlib.ExitStack) -> Path:
    """A bag's folder, with its storage files checked; a copy if they are compressed as a whole."""
    content = read_mapping(folder / _METADATA, "bag")
    metadata = content.get(_INFORMATION)
    names = metadata.get("relative_file_paths") if isinstance(metadata, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"bag {folder / _METADATA}: expected {_INFORMATION} with relative_file_paths")
    files = [folder / PurePath(name).name for name in names]
    if str(metadata.get("compression_mode")).lower() == "file":
        folder, files = _unpacked_folder(content, files, _new_folder(stack))
    for file in files:
        if file.exists():  # opening it reports missing files
            check_storage(file)
    return folder


def _unpacked_folder(content: Any, files: list[Path], folder: Path) -> tuple[Path, list[Path]]:
    """Unpack storage files that are compressed as a whole into another folder, within a limit.

    :param content: content of metadata.yaml.
    """
    unpacked = []
    for file in files:
        check_regular(file)
        most, size = most_unpacked(file.stat().st_size), 0
        unpacked.append(folder / file.stem)
        with file.open("rb") as packed, zstd.open(packed, "rb") as source, unpacked[-1].open("wb") as target:
            while part := source.read(_AT_ONCE):
                size += len(part)
                free = shutil.disk_usage(folder).free
                if size > most or free < len(part):
                    raise InputError(
                        f"{file}: expected at most {min(most, size + free)} bytes after unpacking, "
                        "more come out of it (limit unpacked_bytes, or too little disk)"
                    )
                target.write(part)
    said = {**content[_INFORMATION], "relative_file_paths": [file.name for file in unpacked]}
    said |= {"compression_mode": "", "compression_format": ""}
    (folder / _METADATA).write_text(yaml.safe_dump({_INFORMATION: said}), encoding="utf-8")
    return folder, unpacked


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


def _storage(path: Path) -> Path:
    """The bag's folder; its only storage file if a crashed recorder left no metadata."""
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        files = [file for file in path.iterdir() if file.suffix in BAG_SUFFIXES]
        if len(files) != 1:
            raise InputError(f"bag {path}: expected metadata.yaml or one storage file, found {len(files)} of them")
        return files[0]
    return path
