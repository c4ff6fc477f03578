"""What the drivers share whose arm is brought up by ros2_control: joint states on topics, a URDF, perhaps a gripper."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from stvla_ros.errors import InputError
from stvla_ros.robots.drivers import DriverNeeds
from stvla_ros.robots.gripper_settings import ACTIONS, GripperSettings


class BringUp(Protocol):
    """The part of such a driver's settings that is the same for all."""

    @property
    def joint_states_topics(self) -> tuple[str, ...]: ...
    @property
    def description_topic(self) -> str: ...
    @property
    def frame_prefix(self) -> str: ...
    @property
    def gripper(self) -> GripperSettings | None: ...


def check_joint_states_topics(settings: BringUp) -> None:
    """:raises InputError: when there is no topic, or one without a name."""
    if not settings.joint_states_topics or not all(settings.joint_states_topics):
        raise InputError("joint_states_topics: expected at least one name, and none that is empty")


def commands_of(settings: BringUp, arm_topic: str) -> tuple[str, ...]:
    """The topics that command the arm and its gripper.

    :param arm_topic: topic that commands the arm.
    """
    return (arm_topic, *(settings.gripper.topics if settings.gripper else ()))


def needs_of(
    settings: BringUp, joints: tuple[str, ...], services: Mapping[str, str], packages: Sequence[str], start: str
) -> DriverNeeds:
    """
    :param joints: names of the arm's joints.
    :param services: types of the services that the driver calls, by name.
    :param packages: Python packages of ROS that the arm needs; the gripper's is added.
    :param start: name of what to start beside the robot's own bring-up.
    """
    gripper = settings.gripper
    of_gripper = ("control_msgs",) if gripper is not None and gripper.interface in ACTIONS else ()
    return DriverNeeds(
        joint_states_topic=settings.joint_states_topics[0],
        joints=_joints_in(settings.joint_states_topics, joints, gripper),
        shared_topic=True,
        services=services,
        packages=(*packages, *of_gripper),
        description_topic=settings.description_topic,
        frame_prefix=settings.frame_prefix,
        start=f"start the robot's own bring-up with its joint_state_broadcaster, and {start}",
        setting="driver.settings.joint_states_topics in the robot's file",
    )


def _joints_in(topics: Sequence[str], joints: tuple[str, ...], gripper: GripperSettings | None) -> tuple[str, ...]:
    """The joints that the first of the topics must have, as far as this is known: with several topics, any of them may
    have any joint.

    :param joints: names of the arm's joints.
    """
    if len(topics) > 1:
        return ()
    here = gripper is not None and gripper.finger_joint and gripper.joint_states_topic in ("", *topics)
    return (*joints, gripper.finger_joint) if gripper and here else joints
