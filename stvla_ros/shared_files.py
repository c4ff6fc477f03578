"""Where the files of config/ lie, and how mappings given as text are read."""

import reprlib
from pathlib import Path
from typing import Any

import yaml

from stvla_ros.errors import InputError

# A few lines of YAML can name a value of gigabytes, by aliases of aliases.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 3, 200, 200, 80


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


def load_yaml(text: str) -> Any:
    """What a YAML text says.

    :raises ValueError: with one line, when it is none.
    """
    try:
        return yaml.safe_load(text)
    except Exception as error:
        # Not YAMLError alone: `!!bool x` is a KeyError in PyYAML, 2020-13-45 a ValueError, `[[[[…` a RecursionError.
        raise ValueError(" ".join(str(error).split())[:160] or type(error).__name__) from error


def shown(value: Any) -> str:
    """A value as an error message shows it: short, however large it is."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return f"a huge {type(value).__name__}"


def parse_mapping(name: str, text: str) -> dict[str, Any]:
    """A YAML mapping given as the value of an argument or parameter.

    :raises InputError: naming it, when the text is no mapping.
    """
    try:
        value = load_yaml(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{name}: expected a YAML mapping like '{{key: value}}', got {shown(text)}")
    return value
