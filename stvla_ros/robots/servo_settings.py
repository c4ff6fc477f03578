"""What must be known of an arm behind MoveIt Servo."""

from dataclasses import dataclass

from stvla_ros.errors import InputError
from stvla_ros.robots.drivers import DriverKind, DriverNeeds
from stvla_ros.settings import check_filled


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
        check_filled(self, "twist_topic", "joint_states_topic", "gripper_topic")
        if self.finger_closed == self.finger_open:
            raise InputError("finger_closed, finger_open: expected different positions, got the same")
        if not 0.0 <= self.gain <= 20.0:
            raise InputError(f"gain: expected 0 to 20, got {self.gain}")


def _needs(settings: ServoSettings, joints: tuple[str, ...]) -> DriverNeeds:
    finger = settings.finger_joint
    return DriverNeeds(
        joint_states_topic=settings.joint_states_topic,
        joints=(*joints, finger) if finger else joints,
        shared_topic=True,
        start="start the robot's own bring-up with its joint_state_broadcaster, and MoveIt Servo",
        setting="driver.settings.joint_states_topic in the robot's file",
    )


MOVEIT_SERVO_DRIVER = DriverKind(ServoSettings, _needs, "stvla_ros.nodes.drivers.moveit_servo_driver")
