"""Settings of an arm behind MoveIt Servo."""

from dataclasses import dataclass, field
from typing import Literal

from stvla_ros.errors import InputError
from stvla_ros.robots.bring_up import check_joint_states_topics, commands_of, needs_of
from stvla_ros.robots.drivers import DriverKind, DriverNeeds
from stvla_ros.robots.gripper_settings import GripperSettings
from stvla_ros.settings import FORMER_NAME, check_filled

# The service that makes Servo take twists, and the package of its type.
StartService = Literal["switch_command_type", "start_servo", "none"]
_SERVICES: dict[StartService, tuple[str, str]] = {
    "switch_command_type": ("moveit_msgs/srv/ServoCommandType", "moveit_msgs"),
    "start_servo": ("std_srvs/srv/Trigger", "std_srvs"),
}


@dataclass(frozen=True)
class ServoSettings:
    """``driver.settings`` of the robot's file.

    :param twist_topic: topic of Servo's input (geometry_msgs/TwistStamped, ``command_in_type: speed_units``).
    :param joint_states_topics: topics with the positions of the arm's joints; together they have all of them, in any
        parts.
    :param servo_node: name of Servo's node.
    :param start_service: service of that node that is called when the arm is taken up: ``switch_command_type`` (Jazzy
        and later ignore twists until then), ``start_servo`` (Humble) or ``none``.
    :param description_topic: topic of the robot's URDF.
    :param frame_prefix: text before the robot's frames on tf (``frame_prefix`` of robot_state_publisher).
    :param gripper: settings of the gripper; None for an arm without one, or with one that other software moves.
    :param gain: share of the distance between wanted and measured pose that is corrected in a second, 1/s.
    """

    twist_topic: str
    joint_states_topics: tuple[str, ...] = field(
        default=("joint_states",), metadata={FORMER_NAME: "joint_states_topic"}
    )
    servo_node: str = "servo_node"
    start_service: StartService = "switch_command_type"
    description_topic: str = "robot_description"
    frame_prefix: str = ""
    gripper: GripperSettings | None = field(default=None, metadata={FORMER_NAME: "gripper_topic"})
    gain: float = 2.0

    def __post_init__(self) -> None:
        check_filled(self, "twist_topic", "servo_node", "description_topic")
        check_joint_states_topics(self)
        if not 0.0 <= self.gain <= 20.0:
            raise InputError(f"gain: expected 0 to 20, got {self.gain}")


def _commands(settings: ServoSettings) -> tuple[str, ...]:
    return commands_of(settings, settings.twist_topic)


def _needs(settings: ServoSettings, joints: tuple[str, ...]) -> DriverNeeds:
    services, packages = {}, []
    if settings.start_service in _SERVICES:
        kind, package = _SERVICES[settings.start_service]
        services[f"{settings.servo_node}/{settings.start_service}"] = kind
        packages.append(package)
    return needs_of(settings, joints, services, packages, "MoveIt Servo")


MOVEIT_SERVO_DRIVER = DriverKind(
    ServoSettings,
    _needs,
    "stvla_ros.nodes.drivers.moveit_servo_driver",
    stand_in="stvla_ros.nodes.drivers.fake_servo",
    commands=_commands,
)
