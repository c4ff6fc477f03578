"""Which middleware ROS 2 is told to use, asked before rclpy is loaded: one that is not there ends the process in the C
code below rclpy, with a line that does not say what to do.
"""

import re
import subprocess
import sys
from collections.abc import Mapping

from stvla_ros.errors import InputError

VARIABLE = "RMW_IMPLEMENTATION"
# Every distribution has it, and the wheels have nothing else.
USUAL = "rmw_fastrtps_cpp"
_ASK = "import rclpy; rclpy.get_rmw_implementation_identifier()"
_TIMEOUT_S = 60.0
_FOUND = re.compile(r"instead found '(\w+)'")


def knows_ranges(environment: Mapping[str, str]) -> bool:
    """Whether this ROS 2 knows ROS_AUTOMATIC_DISCOVERY_RANGE and ROS_STATIC_PEERS, which came with Iron. Humble has
    ROS_LOCALHOST_ONLY in their place. Names of distributions follow the alphabet; the wheels are Jazzy's.
    """
    return not "" < environment.get("ROS_DISTRO", "") < "iron"


def middleware_problem(environment: Mapping[str, str]) -> str:
    """Why the middleware that the environment names cannot be loaded, and what to do; empty when it can, and when there
    is no rclpy at all, which is another problem.

    :param environment: environment of the process that is to load it.
    """
    asked = environment.get(VARIABLE, "")
    if asked in ("", USUAL):
        return ""
    # In a process of its own, as it would end this one.
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _ASK],
            capture_output=True,
            text=True,
            errors="replace",
            env=dict(environment),
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if not tried.returncode or "ModuleNotFoundError: No module named 'rclpy'" in tried.stderr:
        return ""
    found = _FOUND.search(tried.stderr)
    has = f"has {found[1]} alone" if found else "cannot load it"
    package = asked.replace("_", "-")
    return (
        f"{VARIABLE} is {asked}, and this ROS 2 {has}: `unset {VARIABLE}` (look into ~/.bashrc), or in a distribution "
        f"`apt install ros-$ROS_DISTRO-{package}`; all processes of a graph need the same"
    )


def check_middleware(environment: Mapping[str, str]) -> None:
    """:raises InputError: for a middleware that cannot be loaded."""
    if problem := middleware_problem(environment):
        raise InputError(problem)
