"""The folder of a run."""

from pathlib import Path

from stvla_ros.errors import InputError


def make_run_folder(folder: Path) -> None:
    """:raises InputError: naming the parameter ``output``, when the folder cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"parameter output: expected a folder that can be written, got {folder} ({error})") from None
