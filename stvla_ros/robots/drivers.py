"""What each driver listens to, and how to start what it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stvla_ros.errors import InputError
from stvla_ros.robots.embodiments import DriverDescription
from stvla_ros.robots.xs_settings import XsSettings
from stvla_ros.settings import build

_XS_SERVICES = {
    "set_operating_modes": "interbotix_xs_msgs/srv/OperatingModes",
    "set_motor_registers": "interbotix_xs_msgs/srv/RegisterValues",
    "get_robot_info": "interbotix_xs_msgs/srv/RobotInfo",
    "torque_enable": "interbotix_xs_msgs/srv/TorqueEnable",
}


@dataclass(frozen=True)
class DriverNeeds:
    """
    :param joint_states_topic: name; empty where the driver takes none.
    :param joints: that it needs of them.
    :param shared_topic: whether others may publish joints of theirs there.
    :param pose_topic: name of the measured tool pose; empty where the driver takes none.
    :param services: that it calls, by name, each with its type.
    :param packages: Python packages of ROS that it imports.
    :param start: how to start what it talks to.
    :param setting: how to give another topic.
    """

    joint_states_topic: str = ""
    joints: tuple[str, ...] = ()
    shared_topic: bool = False
    pose_topic: str = ""
    services: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    start: str = ""
    setting: str = ""


def driver_needs(driver: DriverDescription) -> DriverNeeds:
    """:raises InputError: when the robot's file lacks a setting."""
    joints = driver.arm.joints if driver.arm else ()
    if driver.executable == "widowx_driver":
        name = _text(driver, "namespace")
        return DriverNeeds(
            joint_states_topic=f"{name}/joint_states",
            joints=(*joints, _text(driver, "finger_joint")),
            services={f"/{name.strip('/')}/{service}": kind for service, kind in _XS_SERVICES.items()},
            packages=("interbotix_xs_msgs",),
            # Unless it is told otherwise, xs_sdk calls a robot by its model.
            start="switch the arm on and start Interbotix' xs_sdk: `ros2 launch interbotix_xsarm_control "
            f"xsarm_control.launch.py robot_model:={name}` (without an arm: `stvla robot --use-fake-hardware`)",
            setting="driver.settings.namespace in the robot's file is xs_sdk's robot_name",
        )
    if driver.executable == "moveit_servo_driver":
        finger = driver.settings.get("finger_joint", "")
        return DriverNeeds(
            joint_states_topic=_text(driver, "joint_states_topic"),
            joints=(*joints, finger) if finger else joints,
            shared_topic=True,
            start="start the robot's own bring-up with its joint_state_broadcaster, and MoveIt Servo",
            setting="driver.settings.joint_states_topic in the robot's file",
        )
    return DriverNeeds(
        pose_topic=_text(driver, "pose_topic"),
        start="start the site's driver of the robot, which publishes its tool pose (docs/robot.md)",
        setting="driver.settings.pose_topic in the robot's file",
    )


def _text(driver: DriverDescription, key: str) -> str:
    value = driver.settings.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"driver.settings.{key}: expected a name, got {value!r}")
    return value


@dataclass(frozen=True)
class PoseSettings:
    """``driver.settings`` of the robot's file.

    :param pose_topic: measured pose of the tool point in the base frame (geometry_msgs/PoseStamped), at 10 Hz or more.
    :param target_topic: wanted poses (geometry_msgs/PoseStamped), at ``tick_hz``.
    :param gripper_topic: wanted opening (std_msgs/Float32), 0 closed to 1 open.
    :param relative_gripper: changes of the opening in place of it; their sum is what is wanted.
    """

    pose_topic: str
    target_topic: str
    gripper_topic: str
    relative_gripper: bool = True


@dataclass(frozen=True)
class ServoSettings:
    """``driver.settings`` of the robot's file.

    :param twist_topic: Servo's input (geometry_msgs/TwistStamped, ``command_in_type: speed_units``).
    :param joint_states_topic: positions of the arm's joints, and of the finger where one is named.
    :param gripper_topic: wanted opening (std_msgs/Float64), 0 closed to 1 open, for the gripper's own controller.
    :param finger_joint: joint whose position tells the opening; empty where none does.
    :param finger_closed, finger_open: this position, rad or m.
    :param gain: share of the distance between wanted and measured pose that is made up for in a second, 1/s.
    """

    twist_topic: str
    joint_states_topic: str
    gripper_topic: str
    finger_joint: str = ""
    finger_closed: float = 0.0
    finger_open: float = 1.0
    gain: float = 2.0

    def __post_init__(self) -> None:
        if self.finger_closed == self.finger_open:
            raise InputError("finger_closed, finger_open: expected different positions, got the same")
        if not 0.0 <= self.gain <= 20.0:
            raise InputError(f"gain: expected 0 to 20, got {self.gain}")


# Stand-ins of robots, by driver.
FAKES = {"widowx_driver": "fake_xs_arm"}


_SETTINGS = {
    "widowx_driver": XsSettings,
    "google_robot_driver": PoseSettings,
    "moveit_servo_driver": ServoSettings,
}


def driver_settings_problem(driver: DriverDescription) -> str:
    """What is wrong with ``driver.settings``; empty when nothing is."""
    try:
        build(_SETTINGS[driver.executable], dict(driver.settings), "driver.settings.")
    except InputError as problem:
        return str(problem)
    return ""
