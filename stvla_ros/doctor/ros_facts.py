"""Collects `stvla doctor`'s facts about ROS 2; stvla_ros/doctor/ros.py judges them.

Nothing of ROS is imported at the top, because this module must find out whether it can be imported.
"""

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from stvla_ros.doctor.fastdds import VARIABLES
from stvla_ros.doctor.ros import RosFacts
from stvla_ros.errors import reason_of
from stvla_ros.shared_files import config_directory

_OPTIONAL = ("message_filters", "cv_bridge", "tf_transformations")


def ros_facts(packages: Sequence[str]) -> RosFacts:
    """:param packages: names of the packages that the robot's driver imports."""
    try:
        import rclpy
    except Exception as problem:  # also libraries that are not found
        return RosFacts("", _line(problem))
    messages_problem, lacking = _messages()
    return RosFacts(
        rclpy=rclpy.__file__,
        wheels=importlib.util.find_spec("ros_wheels_bootstrapper") is not None,
        messages_problem=messages_problem,
        lacking=lacking,
        optional={name: _origin(name) for name in _OPTIONAL},
        packages={name: _import_problem(name) for name in packages},
        rmw=_middleware(),
    )


def fastdds_variable() -> str:
    """The variable in which the loaded Fast DDS looks for its profile; empty when none is loaded."""
    libraries = {
        Path(line.split()[-1]).name for line in Path("/proc/self/maps").read_text().splitlines() if "/" in line
    }
    for variable, name in zip(VARIABLES, ("libfastrtps.so", "libfastdds.so")):
        if any(library.startswith(name) for library in libraries):
            return variable
    return ""


def _messages() -> tuple[str, tuple[str, ...]]:
    """The reason why the generated modules cannot be used, and the interfaces that they lack."""
    lacking: list[str] = []
    try:
        from rclpy.type_support import check_for_type_support

        for kind in ("msg", "action"):
            module = importlib.import_module(f"stvla_ros.{kind}")
            defined = sorted(file.stem for file in (config_directory().parent / kind).glob(f"*.{kind}"))
            lacking += [name for name in defined if not hasattr(module, name)]
            if kind == "msg" and not lacking:
                # Loads the library with the type's C code.
                check_for_type_support(getattr(module, defined[0]))
    except Exception as problem:  # a half-built package may raise anything
        return _line(problem), ()
    return "", tuple(lacking)


def _origin(name: str) -> str:
    """The origin of an optional package: ``real``, ``fallback``, or the reason why it cannot be imported."""
    try:
        from stvla_ros.nodes.kit import compat

        module = getattr(compat, name)
    except Exception as problem:  # an installed package may be broken
        return _line(problem)
    return "fallback" if module.__name__.startswith("stvla_ros.") else "real"


def _import_problem(name: str) -> str:
    try:
        importlib.import_module(f"{name}.msg")
    except Exception as problem:  # also libraries that are not found
        return _line(problem)
    return ""


def _middleware() -> str:
    import rclpy

    try:
        return rclpy.get_rmw_implementation_identifier()
    except Exception:  # the checks say that it cannot be loaded
        return ""


def _line(problem: Exception) -> str:
    return f"{type(problem).__name__}: {reason_of(problem)}"
