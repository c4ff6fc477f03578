"""Settings of an arm behind a controller of ros2_control that takes joint positions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from stvla_ros.errors import InputError
from stvla_ros.robots.bring_up import check_joint_states_topics, commands_of, needs_of
from stvla_ros.robots.drivers import DriverKind, DriverNeeds
from stvla_ros.robots.gripper_settings import GripperSettings
from stvla_ros.settings import check_filled

Interface = Literal["positions", "trajectory"]
# Known types of controllers, by the interface that they take. For any other type the robot's file is trusted.
_TYPES: dict[Interface, frozenset[str]] = {
    "positions": frozenset(
        {"forward_command_controller/ForwardCommandController", "position_controllers/JointGroupPositionController"}
    ),
    "trajectory": frozenset(
        {"joint_trajectory_controller/JointTrajectoryController", "ur_controllers/ScaledJointTrajectoryController"}
    ),
}
TOPICS: dict[Interface, str] = {"positions": "commands", "trajectory": "joint_trajectory"}
# Each of these makes a JointTrajectoryController continue from its last command instead of the last measurement: if the
# arm lags behind, each new point would otherwise pull it back. The second is the name since Kilted.
OPEN_LOOP = ("open_loop_control", "interpolate_from_desired_state")


@dataclass(frozen=True)
class Ros2ControlSettings:
    """``driver.settings`` of the robot's file.

    :param controller: name of the controller, with its namespace.
    :param interface: interface of the controller: ``positions`` (std_msgs/Float64MultiArray on ``CONTROLLER/commands``)
        or ``trajectory`` (trajectory_msgs/JointTrajectory on ``CONTROLLER/joint_trajectory``, of one point each).
    :param controller_manager: name of the controller manager's node.
    :param joint_states_topics: topics with the positions of the arm's joints; together they have all of them, in any
        parts.
    :param point_ms: time in which the point of a trajectory is reached, milliseconds.
    :param description_topic: topic of the robot's URDF.
    :param frame_prefix: text before the robot's frames on tf (``frame_prefix`` of robot_state_publisher).
    :param gripper: settings of the gripper; None for an arm without one, or with one that other software moves.
    """

    controller: str
    interface: Interface = "positions"
    controller_manager: str = "controller_manager"
    joint_states_topics: tuple[str, ...] = ("joint_states",)
    point_ms: int = 40
    description_topic: str = "robot_description"
    frame_prefix: str = ""
    gripper: GripperSettings | None = None

    def __post_init__(self) -> None:
        check_filled(self, "controller", "controller_manager", "description_topic")
        check_joint_states_topics(self)
        if not 1 <= self.point_ms <= 200:
            raise InputError(f"point_ms: expected 1 to 200, got {self.point_ms}")

    @property
    def command_topic(self) -> str:
        return f"{self.controller}/{TOPICS[self.interface]}"


class ControllerState(Protocol):
    """controller_manager_msgs/ControllerState."""

    name: str
    state: str
    type: str
    required_command_interfaces: Sequence[str]
    is_chained: bool


def check_controller(found: Iterable[ControllerState], settings: Ros2ControlSettings, joints: Sequence[str]) -> None:
    """
    :param found: states of all controllers, from the controller manager.
    :param joints: names of the arm's joints, in the order of every position.
    :raises InputError: when the controller would not follow the commands, or would move another joint than intended.
    """
    own, by_name = settings.controller.rpartition("/")[2], {each.name: each for each in found}
    if own not in by_name:
        listed = ", ".join(sorted(by_name)) or "none"
        raise InputError(f"controller {own}: expected it among those of {settings.controller_manager}, it has {listed}")
    state = by_name[own]
    if state.state != "active":
        raise InputError(
            f"controller {own}: expected it to be active, it is {state.state or 'in no state'} "
            f"(ros2 control switch_controllers --activate {own})"
        )
    for interface, types in _TYPES.items():
        if interface != settings.interface and state.type in types:
            raise InputError(f"controller {own}: it is a {state.type}, expected interface: {interface} in the file")
    if state.is_chained:
        raise InputError(f"controller {own}: another controller is chained to it, so that it takes no topic's commands")
    takes = list(state.required_command_interfaces)
    if settings.interface == "positions":
        # Positions are assigned by their order alone.
        wanted = [f"{name}/position" for name in joints]
        order, same = " in this order" if sorted(takes) == sorted(wanted) else "", takes == wanted
    else:
        # Points have the joints' names. The joints may follow them by any of their interfaces: positions or efforts.
        wanted, order = list(joints), ""
        same = {each.rpartition("/")[0] for each in takes} == set(joints)
    if not same:
        raise InputError(
            f"controller {own}: expected it to command {', '.join(wanted)}{order}, it commands "
            f"{', '.join(takes) or 'nothing'}"
        )


def _commands(settings: Ros2ControlSettings) -> tuple[str, ...]:
    return commands_of(settings, settings.command_topic)


def _needs(settings: Ros2ControlSettings, joints: tuple[str, ...]) -> DriverNeeds:
    services = {f"{settings.controller_manager}/list_controllers": "controller_manager_msgs/srv/ListControllers"}
    if settings.interface == "trajectory":
        services[f"{settings.controller}/get_parameters"] = "rcl_interfaces/srv/GetParameters"
    start = f"activate the controller {settings.controller} (`ros2 control list_controllers`)"
    return needs_of(settings, joints, services, ["controller_manager_msgs"], start)


JOINT_POSITION_DRIVER = DriverKind(
    Ros2ControlSettings,
    _needs,
    "stvla_ros.nodes.drivers.joint_position_driver",
    stand_in="stvla_ros.nodes.drivers.fake_controllers",
    commands=_commands,
)
