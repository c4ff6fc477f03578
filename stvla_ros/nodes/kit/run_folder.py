"""The folder of a run, and the JSON files in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stvla_ros.errors import InputError


def make_run_folder(folder: Path) -> None:
    """:raises InputError: naming the parameter ``output``, when the folder cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"parameter output: expected a folder that can be written, got {folder} ({error})") from None


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Written aside and moved, so that a reader never sees half a file."""
    partial = file.with_name(f"{file.name}.part")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(file)
