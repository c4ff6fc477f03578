"""Files and folders that are either complete or absent: written under another name, then moved to their place."""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stvla_ros.errors import InputError


def make_folder(folder: Path, argument: str = "output") -> None:
    """Make a folder, with those above it, unless it exists.

    :param argument: name of the argument in the error.
    :raises InputError: when it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{argument}: expected a folder that can be written, got {folder} ({error.strerror})"
        ) from None


def why_not_written(error: OSError, place: Path | str) -> str:
    """Why something cannot be written to a place, in a few words; with the free space where that is the reason."""
    reason = error.strerror or str(error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return reason
    folder = next((each for each in Path(place).absolute().parents if each.is_dir()), Path("/"))
    return f"{reason}: {folder} has {shutil.disk_usage(folder).free / 1e6:.1f} MB free"


@contextmanager
def whole_file(file: Path, durable: bool = False) -> Iterator[Path]:
    """
    :param file: path of the file; an existing file stays until the new one is complete.
    :param durable: whether the file survives a power cut once the block has ended.
    :returns: a path beside it, for the block to write to. It becomes ``file`` when the block ends without an error, and
        is removed otherwise.
    """
    aside = _aside(file)
    aside.unlink(missing_ok=True)
    try:
        yield aside
        if durable:
            _put_on_disk(aside)
        aside.replace(file)
        if durable:
            _put_on_disk(file.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """
    :param folder: a new or empty one; folders above it are made.
    :returns: an empty folder beside it, for the block to fill. It becomes ``folder`` when the block ends without an
        error, and is removed otherwise.
    :raises OSError: when ``folder`` was filled by somebody else meanwhile.
    """
    aside = _aside(folder)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        aside.replace(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_json(file: Path, content: Mapping[str, Any], durable: bool = False) -> None:
    """Write a JSON object so that no reader ever sees half of it. :param durable: see :func:`whole_file`."""
    with whole_file(file, durable) as aside:
        aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _put_on_disk(path: Path) -> None:
    """:param path: file whose content, or folder whose entries, must reach the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _aside(path: Path) -> Path:
    # Named by the process, so that two processes do not write the same path. Process numbers in a container repeat, so
    # what a killed process left under this name is removed first.
    return path.with_name(f".{path.name}-{os.getpid()}")
