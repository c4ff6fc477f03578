"""The robot's state in a bag: the pose of its tool point and its opening, out of the joint states."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.gripper import opening_of
from stvla_ros.recordings.bag import Bag
from stvla_ros.robots.embodiments import ROBOT_DESCRIPTION, Embodiment
from stvla_ros.robots.gripper_settings import GripperSettings
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.robots.xs_settings import XsSettings
from stvla_ros.settings import build

_JOINT_STATE_TYPE, _TEXT_TYPE = "sensor_msgs/msg/JointState", "std_msgs/msg/String"
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
        urdf = _text(bag, (f"{folder}/{needs.description_topic}", f"/{needs.description_topic}"))
    names = (*driver.arm.joints, fingers.finger_joint)
    told = {f"{folder}/joint_states", f"{folder}/{needs.joint_states_topic}", f"/{needs.joint_states_topic}"}
    times, positions = _positions(bag, told, names)
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


def _positions(bag: Bag, topics: set[str], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Stamps (m,) and positions (m, joints), as soon as every joint has said where it is."""
    wanted = [topic for topic in bag.of_type(_JOINT_STATE_TYPE) if topic.topic in topics]
    known: dict[str, float] = {}
    times: list[int] = []
    rows: list[list[float]] = []
    for topic, recorded_ns, data in bag.messages(wanted) if wanted else ():
        message: Any = bag.deserialize(data, topic.msgtype)
        if len(message.name) != len(message.position) or not np.isfinite(message.position).all():
            continue
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec or recorded_ns
        known.update(zip(message.name, map(float, message.position), strict=True))
        if all(name in known for name in names) and (not times or stamp >= times[-1]):
            times.append(stamp)
            rows.append([known[name] for name in names])
    return np.array(times, np.int64), np.array(rows)


def _text(bag: Bag, topics: Sequence[str]) -> str:
    wanted = [topic for topic in bag.of_type(_TEXT_TYPE) if topic.topic in topics]
    for topic, _, data in bag.messages(wanted) if wanted else ():
        return str(bag.deserialize(data, topic.msgtype).data)
    return ""
