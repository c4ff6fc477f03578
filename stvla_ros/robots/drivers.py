"""Facts about a driver that are known before it runs, and the registry of drivers by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any

from stvla_ros.plugins import Registry


@dataclass(frozen=True)
class DriverNeeds:
    """
    :param joint_states_topic: topic of the joint states; empty if the driver takes none.
    :param joints: names of the joints that it needs on this topic; empty if they come on several topics.
    :param shared_topic: whether other publishers may use this topic for joints of theirs, and the arm's joints may come
        in parts.
    :param pose_topic: topic of the measured tool pose; empty if the driver takes none.
    :param services: types of the services that it calls, by name; like topics, in the robot's namespace unless the name
        begins with a slash.
    :param packages: Python packages of ROS that it imports.
    :param description_topic: name of the topic of the robot's URDF.
    :param frame_prefix: text before the robot's frames on tf, and in that URDF.
    :param start: advice how to start the software that it talks to.
    :param setting: advice how to choose another topic.
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
    :param needs: function that returns the driver's needs for given settings and names of the arm's joints (none if
        there is no arm).
    :param module: module that runs the driver's node: ``python -m MODULE``.
    :param coordinates: names of the coordinates in which the gate plans; empty where these are the arm's joints.
    :param commands: topics by which it commands the arm with such settings, where nobody else may publish.
    :param stand_in: module that runs a stand-in of the robot (``use_fake_hardware``). Its last part is the name of the
        stand-in's node, which takes the parameter ``robot``. Empty if there is none.
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
