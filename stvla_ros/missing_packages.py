"""Python packages that only some commands and nodes need: one line that tells how to get the one that is missing."""

import importlib.util
import sys
from collections.abc import Iterable

from stvla_ros.errors import InputError

# The sets of requirements/ by the modules that they bring, as far as this package imports them.
_MODULES = {
    "core": "cv2 numpy scipy yaml av rosbags lz4 tqdm tyro typing_extensions docstring_parser pinocchio coal ruckig",
    "models": "torch transformers peft safetensors tokenizers huggingface_hub PIL",
    "sim": "mani_skill sapien gymnasium",
    "learning": "pyarrow tensorboard matplotlib",
}
SET_OF: dict[str, str] = {module: name for name, modules in _MODULES.items() for module in modules.split()}
# transformers asks for it; the other networks' packages drop older ones, too.
_OLDEST_FOR_NETWORKS = (3, 11)
_BUILD = "build the workspace and source it (docs/how-to/build-with-colcon.md), or in a checkout: `make setup`"


def missing_package(error: BaseException) -> str:
    """One line about a package that is not installed, and how to get it; empty for any other error.

    :param error: error that an import raised.
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    name, _, inside = error.name.partition(".")
    if name == "stvla_ros" and inside in ("action", "msg", "srv"):
        return f"the messages of stvla_ros are not built: {_BUILD}"
    if name == "rclpy" or name.endswith("_msgs"):
        return f"{name} is not installed, a package of ROS 2: source a distribution, or {_BUILD}"
    if name not in SET_OF:
        return ""
    return f"{name} is not installed: {_how(SET_OF[name])}"


def _how(requirements: str) -> str:
    if requirements == "core":
        return (
            "pip install -r requirements/core.txt, or beside a ROS 2 distribution requirements/distribution.txt "
            "(docs/how-to/build-with-colcon.md)"
        )
    if sys.version_info < _OLDEST_FOR_NETWORKS:
        return (
            f"it needs Python {'.'.join(map(str, _OLDEST_FOR_NETWORKS))}, this is {sys.version_info[0]}."
            f"{sys.version_info[1]}; docs/how-to/humble.md says how to run it in an environment of its own"
        )
    return f"pip install -r requirements/{requirements}.txt"


def require_packages(user: str, modules: Iterable[str]) -> None:
    """Look for packages without importing them, which takes seconds.

    :param user: name of the part that needs them, the beginning of the line.
    :param modules: names of their modules.
    :raises InputError: for the first one that is not installed.
    """
    for module in modules:
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            raise InputError(f"{user}: {missing_package(ModuleNotFoundError(name=module))}")
