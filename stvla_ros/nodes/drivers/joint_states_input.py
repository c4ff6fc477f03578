"""Joint states of an arm and its gripper as ros2_control publishes them: whole or in parts, on one topic or several."""

from collections.abc import Sequence
from functools import partial

from sensor_msgs.msg import JointState

from stvla_ros.control.gripper import opening_of
from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.kit.base import SENSOR_QOS
from stvla_ros.nodes.kit.messages import stamp_ns
from stvla_ros.robots.gripper_settings import GripperSettings
from stvla_ros.robots.merged_joints import JointSaid, MergedJoints, WholeArm

# Grippers publish their position less often than arms do. It only influences the gripper.
_FINGER_AGE_S = 1.0


class JointStatesInput:
    """
    :param driver: driver that gets the measurements; its robot's file names the joints.
    :param topics: topics with the positions of the arm's joints.
    :param gripper: settings of the gripper; None if there is none.
    """

    def __init__(self, driver: DriverNode, topics: Sequence[str], gripper: GripperSettings | None) -> None:
        self._driver, self._gripper = driver, gripper
        self._topics = list(topics)
        self._finger_joint = gripper.finger_joint if gripper else ""
        if gripper and gripper.finger_joint and gripper.joint_states_topic:
            self._topics.append(gripper.joint_states_topic)

    def listen(self) -> None:
        """Call this from the driver's ``listen``."""
        description = self._driver.description
        self._joints = description.arm.joints
        self._merged = MergedJoints(self._joints, description.limits.joint_state_timeout)
        self._opening, self._finger_at_ns = 1.0, 0
        for topic in dict.fromkeys(self._topics):
            self._driver.subscribe(JointState, topic, partial(self._take, topic), SENSOR_QOS)

    def _take(self, topic: str, message: JointState) -> None:
        driver, gripper = self._driver, self._gripper
        here = [name for name in self._joints if name in message.name]
        finger = (self._finger_joint,) if self._finger_joint and self._finger_joint in message.name else ()
        said = driver.read_joints(message, here or finger or self._joints, topic, finger if here else ())
        if said is None:
            return
        if finger and gripper:
            self._opening = opening_of(said.position[-1], gripper.finger_closed, gripper.finger_open)
            self._finger_at_ns = driver.now_ns()
        if not here:
            return
        count, stamp = len(here), stamp_ns(message.header)
        if count == len(self._joints):
            self._measured(topic, WholeArm(said.position[:count], said.effort[:count], stamp))
            return
        now_ns = driver.now_ns()
        each = zip(here, said.position, said.effort)
        part = {name: JointSaid(float(at), float(effort), stamp or now_ns) for name, at, effort in each}
        try:
            whole = self._merged.take(part)
        except InputError as error:
            driver.reject(topic, f"topic {topic}: {error}")
            return
        if whole is not None:
            self._measured(topic, whole)
        elif silent := self._merged.silent(now_ns):
            driver.reject("joint states", f"topic {', '.join(self._topics)}: no position of {silent}")

    def _measured(self, topic: str, arm: WholeArm) -> None:
        driver = self._driver
        if self._finger_joint and not 0 <= driver.now_ns() - self._finger_at_ns <= _FINGER_AGE_S * 1e9:
            where = (self._gripper.joint_states_topic if self._gripper else "") or topic
            driver.reject("joint states", f"topic {where}: no position of the finger's joint {self._finger_joint}")
            return
        driver.measured(arm.position, self._opening, topic, arm.stamp_ns, arm.effort)
