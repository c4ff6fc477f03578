"""The executables of the package, and the module of each.

Imports nothing of ROS, because code that starts processes asks here. CMakeLists.txt reads the names below, one on each
line.
"""

from stvla_ros.errors import InputError

_ROOMS = {
    "tracker": "perception",
    "depth": "perception",
    "compositor": "perception",
    "vla_server": "server",
    "widowx_driver": "drivers",
    "google_robot_driver": "drivers",
    "joint_position_driver": "drivers",
    "moveit_servo_driver": "drivers",
    "robot_session": "drivers",
    "fake_xs_arm": "drivers",
    "fake_controllers": "drivers",
    "fake_servo": "drivers",
    "sim_bridge": "simulation",
    "bag_recorder": "recording",
    "episode_recorder": "recording",
    "replay": "recording",
    "fused": "",
}


def executables() -> tuple[str, ...]:
    """Names of the executables, as `ros2 run stvla_ros NAME` takes them."""
    return tuple(_ROOMS)


def module_of(executable: str) -> str:
    """The module that an executable runs. :raises InputError: for another name."""
    if executable not in _ROOMS:
        raise InputError(f"executable: expected one of {', '.join(_ROOMS)}, got {executable!r}")
    return ".".join(filter(None, ("stvla_ros.nodes", _ROOMS[executable], executable)))
