"""Node ``joint_position_driver``: any arm behind a controller of ros2_control that takes joint positions."""

from action_msgs.msg import GoalStatus, GoalStatusArray
from builtin_interfaces.msg import Duration
from rcl_interfaces.srv import GetParameters
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from stvla_ros.control.safety.requests import Setpoint
from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.drivers.gripper_output import GripperOutput
from stvla_ros.nodes.drivers.joint_states_input import JointStatesInput
from stvla_ros.nodes.drivers.robot_geometry import make_urdf_arm
from stvla_ros.nodes.kit.base import LATCHED_QOS, RELIABLE_QOS, run
from stvla_ros.nodes.kit.service_sequence import ServiceSequence, Steps
from stvla_ros.robots.ros2_control_settings import OPEN_LOOP, Ros2ControlSettings, check_controller
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.settings import build

# Interval of the check: a controller that is switched off and on again would take the next setpoint wherever the arm is
# by then.
_LOOK_S, _BETWEEN_LOOKS_NS, _ANSWER_S = 0.1, 500_000_000, 5.0
_UNDER_WAY = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_CANCELING)


class JointPositionDriverNode(DriverNode):
    def __init__(self) -> None:
        super().__init__("joint_position_driver")
        self._settings = settings = build(Ros2ControlSettings, dict(self.description.settings), "driver.settings.")
        self._states = JointStatesInput(self, settings.joint_states_topics, settings.gripper)
        self._gripper = GripperOutput(self, settings.gripper)
        self._look: ServiceSequence | None = None
        self._looked_at_ns = 0

    def make_arm(self) -> UrdfArm:
        return make_urdf_arm(self, self.description.arm)

    # --- the controller -----------------------------------------------------------------------------------------------

    def connect(self) -> None:
        try:
            from controller_manager_msgs.srv import ListControllers
        except ImportError:
            raise InputError(
                "the package controller_manager_msgs is not installed: expected ros2_control "
                "(ros-$ROS_DISTRO-controller-manager-msgs)"
            ) from None
        settings = self._settings
        self._point = Duration(nanosec=settings.point_ms * 1_000_000)
        self._list_controllers = ListControllers.Request
        self._ask_controllers = self.create_client(ListControllers, f"{settings.controller_manager}/list_controllers")
        if settings.interface == "positions":
            self._to_controller = self.create_publisher(Float64MultiArray, settings.command_topic, RELIABLE_QOS)
        else:
            self._to_controller = self.create_publisher(JointTrajectory, settings.command_topic, RELIABLE_QOS)
            self._ask_parameters = self.create_client(GetParameters, f"{settings.controller}/get_parameters")
        self._gripper.connect()
        self.every(_LOOK_S, self._look_after_controller)

    def cleanup(self) -> None:
        super().cleanup()
        self._gripper.disconnect()

    def listen(self) -> None:
        self._foreign_goal = False
        self._states.listen()
        if self._settings.interface == "trajectory":
            topic = f"{self._settings.controller}/follow_joint_trajectory/_action/status"
            self.subscribe(GoalStatusArray, topic, self._on_goals, LATCHED_QOS, watched=False)

    def _on_goals(self, message: GoalStatusArray) -> None:
        """This driver sends no goals. Another client's goal would make the arm follow its trajectory."""
        self._foreign_goal = any(each.status in _UNDER_WAY for each in message.status_list)
        if self._foreign_goal and self.engaged and not self.dry_run:
            self.stop_and_latch("foreign publisher", self._foreign())

    def _foreign(self) -> str:
        action = f"{self._settings.controller}/follow_joint_trajectory"
        return f"action {action}: expected no goal of anybody else, one is under way"

    def engage(self) -> Steps:
        """Nothing is switched: an inactive controller is somebody else's decision."""
        yield from self._check_controller()
        if self._settings.interface != "trajectory":
            return
        if self._foreign_goal:
            raise InputError(self._foreign())
        answer = yield self._ask_parameters, GetParameters.Request(names=list(OPEN_LOOP))
        if not any(value.bool_value for value in answer.values):
            raise InputError(
                f"controller {self._settings.controller}: expected its parameter {' or '.join(OPEN_LOOP)} to be true, "
                "or each setpoint would begin where the arm was measured, and pull it back; set it, or use a "
                "forward_position_controller (interface: positions)"
            )

    def _check_controller(self) -> Steps:
        answer = yield self._ask_controllers, self._list_controllers()
        check_controller(answer.controller, self._settings, self.description.arm.joints)

    def _look_after_controller(self) -> None:
        """While setpoints are sent, check that they still reach the right joints."""
        if not self.engaged or self.dry_run or self.latch.closed:
            self._look = None
            return
        try:
            if self._look is None and self.times.now_ns >= self._looked_at_ns + _BETWEEN_LOOKS_NS:
                self._look = ServiceSequence(self._check_controller(), _ANSWER_S)
            if self._look is None:
                return
            self._look.poll()
            if not self._look.done:
                return
        except InputError as error:
            self.stop_and_latch("arm lost", str(error))
        self._look, self._looked_at_ns = None, self.times.now_ns

    # --- setpoints ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._gripper.begin()

    def known_opening(self) -> float | None:
        return self._gripper.known_opening()

    def send(self, setpoint: Setpoint) -> None:
        position = setpoint.position.tolist()
        if self._settings.interface == "positions":
            self._to_controller.publish(Float64MultiArray(data=position))
            return
        # No stamp: it begins on arrival. Nothing follows the point, so the arm stays there when this driver is gone.
        point = JointTrajectoryPoint(positions=position, time_from_start=self._point)
        self._to_controller.publish(JointTrajectory(joint_names=list(self.description.arm.joints), points=[point]))

    def send_gripper(self, opening: float) -> None:
        self._gripper.tell(opening)

    def check_gripper(self) -> Steps:
        return self._gripper.check()


def main() -> None:
    run(JointPositionDriverNode)


if __name__ == "__main__":
    main()
