"""Files and folders that are there whole or not at all: written aside, then moved to their place."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stvla_ros.errors import InputError


def make_folder(folder: Path, argument: str = "output") -> None:
    """Make a folder, with those above it, unless it is there.

    :param argument: how the error calls it.
    :raises InputError: when it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{argument}: expected a folder that can be written, got {folder} ({error.strerror})"
        ) from None


@contextmanager
def whole_file(file: Path, durable: bool = False) -> Iterator[Path]:
    """
    :param file: what is written; one that is there stays until the new one is whole.
    :param durable: whether a power cut must not undo it once the block has ended.
    :returns: a path beside it, for the block to write to. It becomes ``file`` when the block ends well, and is removed
        when it does not.
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
    :returns: an empty folder beside it, for the block to fill. It becomes ``folder`` when the block ends well, and is
        removed when it does not.
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
    """Write a JSON object, so that nobody ever reads half of it. :param durable: see :func:`whole_file`."""
    with whole_file(file, durable) as aside:
        aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _put_on_disk(path: Path) -> None:
    """:param path: a file whose content, or a folder whose entries, the disk must have."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _aside(path: Path) -> Path:
    # By the process, so that two that write the same do not meet. A container's numbers repeat: what a killed process
    # left under this name is removed first.
    return path.with_name(f".{path.name}-{os.getpid()}")
