"""Settings of an arm behind Interbotix' ``xs_sdk``."""

from dataclasses import dataclass

from stvla_ros.errors import InputError
from stvla_ros.robots.drivers import DriverKind, DriverNeeds
from stvla_ros.settings import check_filled

_SERVICES = {
    "set_operating_modes": "interbotix_xs_msgs/srv/OperatingModes",
    "set_motor_registers": "interbotix_xs_msgs/srv/RegisterValues",
    "get_robot_info": "interbotix_xs_msgs/srv/RobotInfo",
    "torque_enable": "interbotix_xs_msgs/srv/TorqueEnable",
}
# A servo's PWM register.
MOST_PWM = 885.0


@dataclass(frozen=True)
class XsSettings:
    """``driver.settings`` of the robot's file.

    :param namespace: namespace of xs_sdk: the robot's name.
    :param group: group of the arm's joints in xs_sdk's motor configuration.
    :param gripper: name of the gripper's joint in that configuration.
    :param finger_joint: joint whose position in joint_states is the fingers' distance from the middle.
    :param finger_closed, finger_open: position of this joint, closed and open, metres.
    :param gripper_pwm: effort with which the gripper opens and closes, of 885.
    :param profile_ms: time in which a servo follows a setpoint, milliseconds.
    """

    namespace: str
    group: str
    gripper: str
    finger_joint: str
    finger_closed: float
    finger_open: float
    gripper_pwm: float
    profile_ms: int

    def __post_init__(self) -> None:
        check_filled(self, "namespace", "group", "gripper", "finger_joint")
        if not 0.0 <= self.finger_closed < self.finger_open:
            raise InputError(
                f"finger_closed, finger_open: expected 0 <= closed < open, got {self.finger_closed}, {self.finger_open}"
            )
        if not 0.0 < self.gripper_pwm <= MOST_PWM:
            raise InputError(f"gripper_pwm: expected 0 to {MOST_PWM:g}, got {self.gripper_pwm}")
        if not 0 <= self.profile_ms <= 2000:
            raise InputError(f"profile_ms: expected 0 to 2000, got {self.profile_ms}")


def _needs(settings: XsSettings, joints: tuple[str, ...]) -> DriverNeeds:
    name = settings.namespace
    return DriverNeeds(
        joint_states_topic=f"{name}/joint_states",
        joints=(*joints, settings.finger_joint),
        services={f"{name}/{service}": kind for service, kind in _SERVICES.items()},
        packages=("interbotix_xs_msgs",),
        # Its robot_state_publisher is in the namespace, and puts the robot's name before each link.
        description_topic=f"{name}/robot_description",
        frame_prefix=f"{name.strip('/')}/",
        # Unless told otherwise, xs_sdk names a robot after its model.
        start="switch the arm on and start Interbotix' xs_sdk: `ros2 launch interbotix_xsarm_control "
        f"xsarm_control.launch.py robot_model:={name}` (without an arm: `stvla robot --use-fake-hardware`)",
        setting="driver.settings.namespace in the robot's file is xs_sdk's robot_name",
    )


WIDOWX_DRIVER = DriverKind(
    XsSettings,
    _needs,
    "stvla_ros.nodes.drivers.widowx_driver",
    stand_in="stvla_ros.nodes.drivers.fake_xs_arm",
    commands=lambda settings: tuple(
        f"{settings.namespace}/commands/{name}" for name in ("joint_group", "joint_single")
    ),
)

# Difference of the opening below which the fingers count as arrived.
_THERE = 0.08
# A goal below this means: hold whatever is between the fingers.
_CLOSED = 0.05


def gripper_effort(goal: float, opening: float, effort: float) -> float:
    """The effort for the motor: ``effort`` to open, its negative to close, 0 to rest.

    :param goal, opening: wanted and measured, 0 closed to 1 open.
    :param effort: effort with which the gripper moves, in the unit of the motor's mode (PWM or mA).
    """
    if goal <= _CLOSED:
        return -effort
    if opening < goal - _THERE:
        return effort
    # An object keeps the fingers apart: it is held as long as the goal is below the measured opening.
    if opening > goal + _THERE:
        return -effort
    return 0.0
