"""What is known of a driver before it runs, and the drivers by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any

from stvla_ros.plugins import Registry


@dataclass(frozen=True)
class DriverNeeds:
    """
    :param joint_states_topic: name; empty where the driver takes none.
    :param joints: that it needs of them there; empty where they come on several topics.
    :param shared_topic: whether others may publish joints of theirs there, and the arm's may come in parts.
    :param pose_topic: name of the measured tool pose; empty where the driver takes none.
    :param services: that it calls, by name, each with its type.
    :param packages: Python packages of ROS that it imports.
    :param description_topic: name of the topic of the robot's URDF.
    :param frame_prefix: text before the robot's frames on tf, and in that URDF.
    :param start: how to start what it talks to.
    :param setting: how to give another topic.
    """

    joint_states_topic: str = ""
    joints: tuple[str, ...] = ()
    shared_topic: bool = False
    pose_topic: str = ""
    services: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    description_topic: str = "robot_description"
    frame_prefix: str = ""
    start: str = ""
    setting: str = ""


def _none(settings: Any) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class DriverKind:
    """One driver. Its name is that of its node, and ``driver.executable`` in the files of the robots that it drives.

    :param settings: dataclass of ``driver.settings``; it checks itself.
    :param needs: what it needs with such settings, for an arm with joints of these names (none where there is no arm).
    :param module: that runs its node: ``python -m MODULE``.
    :param coordinates: names of the coordinates in which the gate plans; empty where these are the arm's joints.
    :param commands: topics by which it commands the arm with such settings, where nobody else may publish.
    :param stand_in: module that runs a stand-in of the robot (``use_fake_hardware``); its last part is the name of its
        node, which takes the parameter ``robot``. Empty where there is none.
    """

    settings: type
    needs: Callable[[Any, tuple[str, ...]], DriverNeeds]
    module: str
    coordinates: tuple[str, ...] = ()
    stand_in: str = ""
    commands: Callable[[Any], tuple[str, ...]] = _none


def _is_driver(thing: Any) -> bool:
    return isinstance(thing, DriverKind) and is_dataclass(thing.settings)


DRIVERS: Registry[DriverKind] = Registry(
    kind="driver",
    group="drivers",
    built_in={
        "widowx_driver": "stvla_ros.robots.xs_settings:WIDOWX_DRIVER",
        "google_robot_driver": "stvla_ros.robots.pose_settings:GOOGLE_ROBOT_DRIVER",
        "joint_position_driver": "stvla_ros.robots.ros2_control_settings:JOINT_POSITION_DRIVER",
        "moveit_servo_driver": "stvla_ros.robots.servo_settings:MOVEIT_SERVO_DRIVER",
    },
    expected="a DriverKind whose settings are a dataclass",
    fits=_is_driver,
)
