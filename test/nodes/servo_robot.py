"""An arm behind MoveIt Servo, for the live tests of its driver: the WidowX' geometry."""

from pathlib import Path
from typing import Any

from tools.robot_files import write_robot

SETTINGS = {
    "twist_topic": "servo_node/delta_twist_cmds",
    "gripper": {
        "interface": "opening",
        "name": "gripper",
        "finger_joint": "left_finger",
        "finger_closed": 0.015,
        "finger_open": 0.037,
    },
}


def write_servo_robot(folder: Path, start_service: str = "switch_command_type", urdf: str = "", **limits: Any) -> Path:
    """
    :param urdf: in place of the WidowX' own.
    :param limits: in place of the WidowX' own.
    :returns: the robot's file.
    """
    settings = SETTINGS | {"start_service": start_service}
    file = folder / "servoed.yaml"
    return write_robot(file, urdf=urdf, limits=limits, executable="moveit_servo_driver", settings=settings)
