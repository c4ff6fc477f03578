"""A robot behind MoveIt Servo and one that takes poses, for the benches of their drivers."""

from pathlib import Path

import numpy as np
import yaml
from geometry_msgs.msg import PoseStamped
from scipy.spatial.transform import Rotation

from stvla_ros.shared_files import config_directory


def write_servo_robot(folder: Path, finger_joint: str = "left_finger") -> Path:
    """:param finger_joint: empty for a gripper that is not measured.
    :returns: the robot's file: the WidowX, driven by twists.
    """
    content = yaml.safe_load((config_directory() / "robots" / "widowx.yaml").read_text())
    content["driver"]["executable"] = "moveit_servo_driver"
    content["driver"]["arm"]["urdf"] = str(config_directory() / "robots" / "wx250s.urdf")
    gripper = {"interface": "opening", "name": "gripper", "finger_joint": finger_joint}
    gripper |= {"finger_closed": 0.015, "finger_open": 0.037}
    content["driver"]["settings"] = {"twist_topic": "twist", "gripper": gripper, "start_service": "none"}
    file = folder / "servo.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def tool_pose(position: np.ndarray, reference: np.ndarray | None = None) -> PoseStamped:
    """What the pose robot says.

    :param position: (6,) position and rotation vector.
    :param reference: (3, 3) that the rotation counts from; None: the base frame.
    """
    message = PoseStamped()
    message.header.frame_id = "link_base"
    at, turned = message.pose.position, message.pose.orientation
    at.x, at.y, at.z = position[:3].tolist()
    around = Rotation.from_rotvec(position[3:])
    if reference is not None:
        around = around * Rotation.from_matrix(reference)
    turned.x, turned.y, turned.z, turned.w = around.as_quat().tolist()
    return message
