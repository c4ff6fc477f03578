"""The robot's state in a bag: the pose of its tool point and its opening, out of the joint states."""

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.gripper import opening_of
from stvla_ros.recordings.bag import Bag
from stvla_ros.recordings.bag_joints import first_text, read_positions
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION, Embodiment
from stvla_ros.robots.gripper_settings import GripperSettings
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.robots.xs_settings import XsSettings
from stvla_ros.settings import build

# An older joint state is of another time than the picture: most arms speak at 50 Hz or more.
_OLDEST_NS = 500_000_000


def read_states(bag: Bag, folder: str, robot: Embodiment, stamps: np.ndarray) -> np.ndarray | None:
    """
    :param folder: namespace of the pictures, without a slash at its end.
    :param robot: robot that was recorded.
    :param stamps: (n,) int64 stamps of the pictures, nanoseconds.
    :returns: (n, 7) float32 as ``Demonstration.state``, NaN where no joint state of the picture's time is recorded;
        None for a robot whose joints do not tell its state, or are not recorded.
    """
    driver = robot.driver
    if driver is None or driver.arm is None:
        return None
    settings: Any = build(driver.kind.settings, dict(driver.settings), "driver.settings.")
    fingers = settings if isinstance(settings, XsSettings) else getattr(settings, "gripper", None)
    if not isinstance(fingers, XsSettings | GripperSettings) or not fingers.finger_joint:
        return None
    urdf, needs = driver.arm.urdf, driver.needs()
    if urdf == ROBOT_DESCRIPTION:
        urdf = first_text(bag, (f"{folder}/{needs.description_topic}", f"/{needs.description_topic}"))
    names = (*driver.arm.joints, fingers.finger_joint)
    told = {f"{folder}/joint_states", f"{folder}/{needs.joint_states_topic}", f"/{needs.joint_states_topic}"}
    times, positions = read_positions(bag, told, names)
    if not urdf or not len(times):
        return None
    arm = UrdfArm(urdf, driver.arm.joints, driver.arm.tool_frame)
    newest = np.searchsorted(times, stamps, side="right") - 1
    states = np.full((len(stamps), 7), np.nan, np.float32)
    for number in np.flatnonzero((newest >= 0) & (stamps - times[newest] <= _OLDEST_NS)):
        *joints, finger = positions[newest[number]]
        pose = arm.tool_pose(np.array(joints))
        angles = Rotation.from_matrix(pose[:3, :3]).as_euler("xyz")
        opening = opening_of(finger, fingers.finger_closed, fingers.finger_open)
        states[number] = [*pose[:3, 3], *angles, opening]
    return states
