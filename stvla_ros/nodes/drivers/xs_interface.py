"""The topics and services of Interbotix' ``xs_sdk``, offered by a stand-in of the arm or a simulated one."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from sensor_msgs.msg import JointState

from stvla_ros.control.safety.limits import JointLimits
from stvla_ros.errors import InputError
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode
from stvla_ros.nodes.kit.messages import make_header
from stvla_ros.robots.xs_settings import MOST_PWM, XsSettings

JOINT_STATES_HZ = 100.0


class XsArm(Protocol):
    """The arm behind the interface. Times are ``time.monotonic()``.

    :param profile_s: time in which a joint follows its goal; ``acceleration_s``: the part of it in which it speeds up.
    :param torque: whether the joints are held.
    """

    profile_s: float
    acceleration_s: float
    torque: bool

    def position(self, now: float) -> np.ndarray:
        """(n,) radians."""

    def effort(self, now: float) -> np.ndarray | None:
        """(n,) mA; None if it is not known."""

    def finger(self, now: float) -> float:
        """Distance of a finger from the middle, metres."""

    def command(self, goal: np.ndarray, now: float) -> list[int]:
        """:returns: indices of the joints whose goal was ignored."""

    def move_gripper(self, effort: float, now: float) -> None:
        """:param effort: effort of the gripper's motor; opens when positive, closes when negative, rests at 0."""

    def switch_torque(self, on: bool, now: float) -> None:
        """Switch the torque. When it is switched on, a joint's goal is its present position."""


class XsInterface:
    """Make it in the node's ``configure``.

    :param limits: limits by joint.
    :raises InputError: without the package interbotix_xs_msgs.
    """

    def __init__(self, node: StvlaNode, settings: XsSettings, limits: Mapping[str, JointLimits], arm: XsArm) -> None:
        try:
            from interbotix_xs_msgs import msg, srv
        except ImportError:
            raise InputError(
                "the package interbotix_xs_msgs is not installed (fallback/interbotix_xs_msgs has it)"
            ) from None
        self._node, self._settings, self._limits, self._arm = node, settings, limits, arm
        self._joints = list(limits)
        self._messages = msg
        self._modes = {settings.group: ("position", "time"), settings.gripper: ("pwm", "velocity")}
        self.unsafe = 0
        inside = settings.namespace
        self._states = node.create_publisher(JointState, f"{inside}/joint_states", RELIABLE_QOS)
        for kind, name, answer in (
            (srv.OperatingModes, "set_operating_modes", self._set_modes),
            (srv.RegisterValues, "set_motor_registers", self._set_registers),
            (srv.RegisterValues, "get_motor_registers", self._get_registers),
            (srv.RobotInfo, "get_robot_info", self._tell_info),
            (srv.TorqueEnable, "torque_enable", self._switch_torque),
        ):
            node.create_service(kind, f"{inside}/{name}", answer)

    def listen(self) -> None:
        """Take commands while the node is active."""
        messages, inside = self._messages, self._settings.namespace
        for kind, name, take in (
            (messages.JointGroupCommand, "joint_group", self._on_group),
            (messages.JointSingleCommand, "joint_single", self._on_single),
        ):
            self._node.subscribe(kind, f"{inside}/commands/{name}", take, RELIABLE_QOS, watched=False)

    def publish(self, unreadable: int | None = None) -> None:
        """Publish the joint states.

        :param unreadable: index of a joint that carries a NaN, as after a failed read.
        """
        now, settings = time.monotonic(), self._settings
        position, finger = np.array(self._arm.position(now)), self._arm.finger(now)
        if unreadable is not None:
            position[unreadable] = np.nan
        message = JointState(header=make_header(self._node.now_ns(), ""))
        message.name = [*self._joints, settings.gripper, settings.finger_joint, "right_finger"]
        message.position = [*position.tolist(), 0.0, finger, -finger]
        message.velocity = [0.0] * len(message.name)
        if (effort := self._arm.effort(now)) is not None:
            message.effort = [*effort.tolist(), 0.0, 0.0, 0.0]
        self._states.publish(message)

    def _on_group(self, message: Any) -> None:
        goal = np.asarray(message.cmd, dtype=np.float64)
        if message.name != self._settings.group or len(goal) != len(self._joints):
            self._refuse(f"topic commands/joint_group: expected {len(self._joints)} numbers for {self._settings.group}")
            return
        self._node.stage.received()
        if ignored := self._arm.command(goal, time.monotonic()):
            names = ", ".join(self._joints[number] for number in ignored)
            self._refuse(f"topic commands/joint_group: goals of {names} are not within the limits: {goal}")

    def _on_single(self, message: Any) -> None:
        if message.name != self._settings.gripper or not abs(message.cmd) <= MOST_PWM:
            self._refuse(
                f"topic commands/joint_single: expected a PWM for the gripper, got {message.name} {message.cmd}"
            )
        else:
            self._arm.move_gripper(message.cmd, time.monotonic())

    def _refuse(self, problem: str) -> None:
        self.unsafe += 1
        self._node.reject("command", problem)

    # --- services -----------------------------------------------------------------------------------------------------

    def _set_modes(self, request: Any, response: Any) -> Any:
        if request.name in self._modes:
            self._modes[request.name] = request.mode, request.profile_type
            if request.name == self._settings.group:
                # As in xs_sdk: the torque is off while the mode changes.
                self._arm.switch_torque(True, time.monotonic())
                self._profile(request.profile_velocity, request.profile_acceleration)
        return response

    def _set_registers(self, request: Any, response: Any) -> Any:
        if request.name == self._settings.group and request.reg == "Profile_Velocity":
            self._profile(request.value, None)
        elif request.name == self._settings.group and request.reg == "Profile_Acceleration":
            self._profile(None, request.value)
        return response

    def _get_registers(self, request: Any, response: Any) -> Any:
        values = {
            "Profile_Velocity": round(1000 * self._arm.profile_s),
            "Profile_Acceleration": round(1000 * self._arm.acceleration_s),
            "Torque_Enable": int(self._arm.torque),
        }
        count = len(self._joints) if request.name == self._settings.group else 1
        response.values = [values[request.reg]] * count if request.reg in values else []
        return response

    def _profile(self, time_ms: int | None, acceleration_ms: int | None) -> None:
        if time_ms is not None:
            self._arm.profile_s = max(time_ms, 0) / 1000.0
        if acceleration_ms is not None:
            self._arm.acceleration_s = max(acceleration_ms, 0) / 1000.0

    def _tell_info(self, request: Any, response: Any) -> Any:
        if request.name not in self._modes:
            return response
        response.mode, response.profile_type = self._modes[request.name]
        response.name = [request.name]
        if request.name == self._settings.group:
            response.joint_names = self._joints
            response.joint_lower_limits = [limits.lower for limits in self._limits.values()]
            response.joint_upper_limits = [limits.upper for limits in self._limits.values()]
        else:
            response.joint_names = [self._settings.finger_joint]
        response.num_joints = len(response.joint_names)
        return response

    def _switch_torque(self, request: Any, response: Any) -> Any:
        if request.name in (self._settings.group, "all"):
            self._arm.switch_torque(request.enable, time.monotonic())
        return response
