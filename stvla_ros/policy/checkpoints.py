"""Checkpoint folders: names of their files, and how new ones are made. ``checkpoint_places.py`` finds them,
``stored_weights.py`` reads their weights.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stvla_ros.atomic_files import whole_folder
from stvla_ros.errors import InputError, reason_of
from stvla_ros.safe_files import read_json_file

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TRAINING_RECORD = "training.json"
"""Name of the file with the training's record, see ``training_record.py``."""
ADAPTER_CONFIG = "adapter_config.json"


def read_json(file: Path) -> dict[str, Any]:
    """:raises InputError: when the file is missing, unreadable or holds no JSON object."""
    try:
        content = read_json_file(file)
    except FileNotFoundError:
        raise InputError(f"checkpoint {file.parent}: expected a file {file.name}, there is none") from None
    except OSError as error:
        raise InputError(f"{file}: expected JSON ({reason_of(error)})") from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected a JSON object, got {type(content).__name__}")
    return content


def check_free(directory: Path) -> None:
    """:raises InputError: unless this is a new or empty folder, for something that is to be written."""
    try:
        taken = directory.exists() and not (directory.is_dir() and not any(directory.iterdir()))
    except OSError as error:
        raise InputError(f"output {directory}: cannot be written ({error})") from error
    if taken:
        raise InputError(f"output {directory}: expected a new or empty folder, it is there already")


@contextmanager
def new_folder(directory: Path, needed: int) -> Iterator[Path]:
    """A folder that becomes ``directory`` when the block ends without an error, and is removed otherwise.

    :param needed: approximate number of bytes that will be written.
    :raises InputError: when ``directory`` is not free, or when the disk refuses something in the block.
    """
    from safetensors import SafetensorError

    directory = directory.expanduser().absolute()
    check_free(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(directory.parent).free
        if free < needed:
            raise InputError(
                f"output {directory}: expected {needed / 1e9:.2f} GB of free disk, there are {free / 1e9:.2f} GB"
            )
        with whole_folder(directory) as aside:
            yield aside
    except (OSError, SafetensorError) as error:
        raise InputError(f"output {directory}: cannot be written ({error})") from error


def is_adapter(directory: Path) -> bool:
    return (directory / ADAPTER_CONFIG).is_file()
