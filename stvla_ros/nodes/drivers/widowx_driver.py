"""Node ``widowx_driver``: a WidowX (or another X-series arm) through the topics and services of ``xs_sdk``."""

import numpy as np
from sensor_msgs.msg import JointState

from stvla_ros.control.gripper import opening_of
from stvla_ros.control.safety.requests import Setpoint
from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.drivers.robot_geometry import make_urdf_arm
from stvla_ros.nodes.kit.base import RELIABLE_QOS, SENSOR_QOS, run
from stvla_ros.nodes.kit.messages import stamp_ns
from stvla_ros.nodes.kit.service_sequence import Steps
from stvla_ros.robots.gripper_motor import GripperMotor
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.robots.xs_settings import XsSettings
from stvla_ros.settings import build

# Time of a profile that is half acceleration and half deceleration.
_ACCELERATION_SHARE = 2
# Interval in ticks.
_REPEAT_TICKS = 25


class WidowxDriverNode(DriverNode):
    def __init__(self) -> None:
        super().__init__("widowx_driver")
        self._settings = build(XsSettings, dict(self.description.settings), "driver.settings.")
        self._motor = GripperMotor(self._settings.gripper_pwm, _REPEAT_TICKS)

    def make_arm(self) -> UrdfArm:
        return make_urdf_arm(self, self.description.arm)

    def connect(self) -> None:
        try:
            from interbotix_xs_msgs.msg import JointGroupCommand, JointSingleCommand
            from interbotix_xs_msgs.srv import OperatingModes, RegisterValues, RobotInfo, TorqueEnable
        except ImportError:
            raise InputError(
                "the package interbotix_xs_msgs is not installed: expected Interbotix' ROS 2 workspace to be sourced "
                "(interbotix_ros_core)"
            ) from None
        self._requests = OperatingModes.Request, RegisterValues.Request, RobotInfo.Request, TorqueEnable.Request
        self._group_command, self._single_command = JointGroupCommand, JointSingleCommand
        inside = self._settings.namespace
        self._arm_commands = self.create_publisher(JointGroupCommand, f"{inside}/commands/joint_group", RELIABLE_QOS)
        self._gripper_commands = self.create_publisher(
            JointSingleCommand, f"{inside}/commands/joint_single", RELIABLE_QOS
        )
        self._modes = self.create_client(OperatingModes, f"{inside}/set_operating_modes")
        self._registers = self.create_client(RegisterValues, f"{inside}/set_motor_registers")
        self._info = self.create_client(RobotInfo, f"{inside}/get_robot_info")
        self._torque = self.create_client(TorqueEnable, f"{inside}/torque_enable")

    def listen(self) -> None:
        self._states_topic = f"{self._settings.namespace}/joint_states"
        self.subscribe(JointState, self._states_topic, self._on_joint_states, SENSOR_QOS)

    def _on_joint_states(self, message: JointState) -> None:
        settings, joints = self._settings, self.description.arm.joints
        said = self.read_joints(message, joints, self._states_topic, (settings.finger_joint,))
        if said is None:
            return
        opening = opening_of(said.position[-1], settings.finger_closed, settings.finger_open)
        count, stamp = len(joints), stamp_ns(message.header)
        self.measured(said.position[:count], opening, self._states_topic, stamp, said.effort[:count])

    def engage(self) -> Steps:
        """Set position mode with a short time profile, and switch the torque on.

        ``set_operating_modes`` switches the torque off for a moment, and an arm that is not lying at rest drops. So it
        is only called if the mode is another one. The profile's registers can be written with the torque on.
        """
        modes, registers, info, torque = self._requests
        settings, group = self._settings, {"cmd_type": "group", "name": self._settings.group}
        single = {"cmd_type": "single", "name": settings.gripper}
        arm = yield self._info, info(**group)
        if list(arm.joint_names) != list(self.description.arm.joints):
            raise InputError(
                f"robot: expected a group {settings.group} of {', '.join(self.description.arm.joints)}, xs_sdk has "
                f"{', '.join(arm.joint_names) or 'none'}"
            )
        profile = {
            "profile_velocity": settings.profile_ms,
            "profile_acceleration": settings.profile_ms // _ACCELERATION_SHARE,
        }
        if (arm.mode, arm.profile_type) == ("position", "time"):
            for register, value in (
                ("Profile_Velocity", profile["profile_velocity"]),
                ("Profile_Acceleration", profile["profile_acceleration"]),
            ):
                yield self._registers, registers(**group, reg=register, value=value)
        else:
            self.get_logger().warning("the arm's operating mode changes: its torque is off for a moment")
            yield self._modes, modes(**group, mode="position", profile_type="time", **profile)
        gripper = yield self._info, info(**single)
        if gripper.mode != "pwm":
            yield self._modes, modes(**single, mode="pwm", profile_type="velocity")
        for part in (group, single):
            yield self._torque, torque(**part, enable=True)

    def begin(self) -> None:
        self._motor.begin()

    def send(self, setpoint: Setpoint) -> None:
        self._arm_commands.publish(
            self._group_command(name=self._settings.group, cmd=setpoint.position.astype(np.float32))
        )

    def send_gripper(self, opening: float) -> None:
        # A gripper that holds a hand is taken for closed, as long as nobody measures it.
        measured = self.opening if self.fresh or not self.gate.releasing else 0.0
        if (effort := self._motor.step(opening, measured)) is not None:
            self._gripper_commands.publish(self._single_command(name=self._settings.gripper, cmd=effort))

    def check_gripper(self) -> Steps:
        _, _, info, _ = self._requests
        gripper = yield self._info, info(cmd_type="single", name=self._settings.gripper)
        if gripper.mode != "pwm":
            raise InputError(f"gripper: expected xs_sdk to have it in the mode pwm, got {gripper.mode or 'none'!r}")


def main() -> None:
    run(WidowxDriverNode)


if __name__ == "__main__":
    main()
