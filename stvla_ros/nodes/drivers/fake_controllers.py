"""Node ``fake_controllers``: the interfaces of a controller manager, its controllers and a gripper of ros2_control,
around a kinematic stand-in of the arm.

For ``use_fake_hardware:=true`` and tests. Messages that would harm a real arm (NaN, goals beyond limits) are counted on
``/diagnostics``. ``~/activate`` switches the arm's controller on and off, as ``switch_controllers`` does.
"""

import time
from typing import Any

import numpy as np
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.fake_arm_node import FakeArmNode
from stvla_ros.nodes.drivers.fake_gripper import joint_states
from stvla_ros.nodes.kit.base import RELIABLE_QOS, run
from stvla_ros.robots.fake_arm import FakeArm
from stvla_ros.robots.ros2_control_settings import OPEN_LOOP, Ros2ControlSettings

_TYPES = {
    "positions": "forward_command_controller/ForwardCommandController",
    "trajectory": "joint_trajectory_controller/JointTrajectoryController",
}
# Greatest speed of a joint of the stand-in, rad/s.
_VELOCITY = np.pi


class FakeControllersNode(FakeArmNode[Ros2ControlSettings]):
    def __init__(self) -> None:
        super().__init__("fake_controllers", Ros2ControlSettings)
        self._active = self.parameter("controller_active", True, "whether the arm's controller is active at the start")
        self._open_loop = self.parameter(
            "open_loop", True, f"of a trajectory controller: {' or '.join(OPEN_LOOP)}, as its parameters tell"
        )
        self._split = self.parameter("split_joint_states", False, "half of the joints in a message, half in the next")
        self._joints = self.arm_description.joints
        limits = [self.driver.limits.joints[name] for name in self._joints]
        lower, upper = [each.lower for each in limits], [each.upper for each in limits]
        begin = self.begin or [(each.lower + each.upper) / 2.0 for each in limits]
        self._arm = FakeArm(lower, upper, [_VELOCITY] * len(limits), begin, 0.0, 1.0)

    # --- what it offers -----------------------------------------------------------------------------------------------

    def configure(self) -> None:
        super().configure()
        try:
            from controller_manager_msgs.msg import ControllerState
            from controller_manager_msgs.srv import ListControllers
        except ImportError:
            raise InputError(
                "the package controller_manager_msgs is not installed (fallback/controller_manager_msgs has it)"
            ) from None
        self._state_kind, settings = ControllerState, self.settings
        topics = self.arm_topics
        self._publishers_of_arm = [self.create_publisher(JointState, topic, RELIABLE_QOS) for topic in topics]
        self.create_service(ListControllers, f"{settings.controller_manager}/list_controllers", self._list)
        self.create_service(GetParameters, f"{settings.controller}/get_parameters", self._tell_parameters)
        self.create_service(SetBool, "~/activate", self._activate)

    def activate(self) -> None:
        super().activate()
        settings = self.settings
        if settings.interface == "positions":
            self.subscribe(Float64MultiArray, settings.command_topic, self._on_positions, watched=False)
        else:
            self.subscribe(JointTrajectory, settings.command_topic, self._on_trajectory, watched=False)

    def extra_diagnostics(self) -> dict[str, Any]:
        return {**super().extra_diagnostics(), "controller_active": self._active}

    # --- the controller manager ---------------------------------------------------------------------------------------

    def _list(self, request: Any, response: Any) -> Any:
        interfaces = [f"{name}/position" for name in self._joints]
        own = self._state_kind(
            name=self.settings.controller.rpartition("/")[2],
            state="active" if self._active else "inactive",
            type=_TYPES[self.settings.interface],
            claimed_interfaces=interfaces if self._active else [],
            required_command_interfaces=interfaces,
        )
        broadcaster = self._state_kind(
            name="joint_state_broadcaster", state="active", type="joint_state_broadcaster/JointStateBroadcaster"
        )
        response.controller = [broadcaster, own]
        return response

    def _tell_parameters(self, request: GetParameters.Request, response: GetParameters.Response) -> Any:
        for name in request.names:
            # A distribution knows one of the two names.
            known = name == OPEN_LOOP[0]
            kind = ParameterType.PARAMETER_BOOL if known else ParameterType.PARAMETER_NOT_SET
            response.values.append(ParameterValue(type=kind, bool_value=known and self._open_loop))
        return response

    def _activate(self, request: SetBool.Request, response: SetBool.Response) -> Any:
        # A controller begins at the arm's position, and leaves the arm there.
        self._arm.switch_torque(True, time.monotonic())
        self._active, response.success = request.data, True
        return response

    # --- what it is told ----------------------------------------------------------------------------------------------

    def _on_positions(self, message: Float64MultiArray) -> None:
        self._command(np.asarray(message.data, dtype=np.float64), 0.0)

    def _on_trajectory(self, message: JointTrajectory) -> None:
        if sorted(message.joint_names) != sorted(self._joints) or len(message.points) != 1:
            self.refuse(f"topic {self.settings.command_topic}: expected one point of {', '.join(self._joints)}")
            return
        (point,) = message.points
        by_name = dict(zip(message.joint_names, point.positions))
        after = point.time_from_start
        goal = np.array([by_name.get(name, np.nan) for name in self._joints])
        self._command(goal, after.sec + after.nanosec * 1e-9)

    def _command(self, goal: np.ndarray, within_s: float) -> None:
        topic = self.settings.command_topic
        if len(goal) != len(self._joints):
            self.refuse(f"topic {topic}: expected {len(self._joints)} positions, got {len(goal)}")
            return
        self.stage.received()
        if not self._active:
            return
        self._arm.profile_s = within_s
        if ignored := self._arm.command(goal, time.monotonic()):
            names = ", ".join(self._joints[number] for number in ignored)
            self.refuse(f"topic {topic}: goals of {names} are not within the limits: {goal}")

    # --- what it says -------------------------------------------------------------------------------------------------

    def publish_joints(self) -> None:
        said = dict(zip(self._joints, self._arm.position(time.monotonic()).tolist()))
        parts = [said]
        if self._split or len(self._publishers_of_arm) > 1:
            half = len(said) // 2
            parts = [dict(list(said.items())[:half]), dict(list(said.items())[half:])]
        self.step_gripper(parts[0])
        for number, part in enumerate(parts):
            self._publishers_of_arm[min(number, len(self._publishers_of_arm) - 1)].publish(joint_states(self, part))


def main() -> None:
    run(FakeControllersNode)


if __name__ == "__main__":
    main()
