"""A robot behind MoveIt Servo and one that takes poses, for the benches of their drivers."""

from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from scipy.spatial.transform import Rotation

from tools.robot_files import write_robot


def write_servo_robot(folder: Path, finger_joint: str = "left_finger") -> Path:
    """:param finger_joint: empty for a gripper that is not measured.
    :returns: the robot's file: the WidowX, driven by twists.
    """
    gripper = {"interface": "opening", "name": "gripper", "finger_joint": finger_joint}
    gripper |= {"finger_closed": 0.015, "finger_open": 0.037}
    settings = {"twist_topic": "twist", "gripper": gripper, "start_service": "none"}
    return write_robot(folder / "servo.yaml", executable="moveit_servo_driver", settings=settings)


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
