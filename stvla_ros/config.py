"""Where the files of config/ lie, and how mappings given as text are read."""

from pathlib import Path
from typing import Any

import yaml

from stvla_ros.errors import InputError


def config_directory() -> Path:
    """Folder with the Fast DDS profile and the rviz configuration: the checkout's, else the installed one."""
    return _shared("config", "fastdds.xml")


def default_checkpoint() -> Path:
    """Folder of the small policy that comes with the package (docs/learning.md says how it was trained)."""
    return _shared("models", "small/config.json") / "small"


def _shared(folder: str, file: str) -> Path:
    checkout = Path(__file__).parents[1] / folder
    if (checkout / file).is_file():
        return checkout
    from ament_index_python import get_package_share_directory

    return Path(get_package_share_directory("stvla_ros")) / folder


def parse_mapping(name: str, text: str) -> dict[str, Any]:
    """A YAML mapping given as the value of an argument or parameter.

    :raises InputError: naming it, when the text is no mapping.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{name}: expected a YAML mapping like '{{key: value}}', got {text!r}")
    return value
