"""Node ``fake_servo``: the interfaces of MoveIt Servo, of the arm that it moves, and of a gripper, around a kinematic
stand-in of the arm.

For ``use_fake_hardware:=true`` and tests. Messages that would harm a real arm (NaN, another frame) are counted on
``/diagnostics``. Twists are ignored until the start service is called, as Servo does.
"""

import time
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.fake_gripper import FakeGripper, joint_states
from stvla_ros.nodes.drivers.robot_geometry import urdf_of
from stvla_ros.nodes.kit.base import RELIABLE_QOS, StvlaNode, run
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.fake_servo_arm import FakeServoArm
from stvla_ros.robots.servo_settings import ServoSettings
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.settings import build

_JOINT_STATES_HZ = 100.0


class FakeServoNode(StvlaNode):
    def __init__(self) -> None:
        super().__init__("fake_servo")
        robot = self.parameter("robot", "", "embodiment, or a YAML file that describes one")
        start = self.parameter("start", "rest", "where the arm is at the start", choices=("rest", "home"))
        self._embodiment = find_embodiment(robot)
        driver = self._embodiment.driver
        if driver is None or driver.arm is None:
            raise InputError(f"parameter robot: expected one with driver.arm, got {robot!r}")
        self._settings = build(ServoSettings, dict(driver.settings), "driver.settings.")
        self._description = driver.arm
        begin = (driver.home if start == "home" else driver.rest) or driver.home
        if begin is None:
            raise InputError(f"parameter start: expected a robot with driver.home, got {robot!r}")
        self._begin = np.array(begin)
        gripper = self._settings.gripper
        self._gripper = FakeGripper(self, gripper, self._refuse) if gripper else None
        self._takes_twists = self._settings.start_service == "none"
        self._unsafe = 0

    def configure(self) -> None:
        settings, description = self._settings, self._description
        urdf = urdf_of(self, description.urdf, settings.description_topic)
        self._arm = FakeServoArm(UrdfArm(urdf, description.joints, description.tool_frame), self._begin)
        self._states = self.create_publisher(JointState, settings.joint_states_topics[0], RELIABLE_QOS)
        service = f"{settings.servo_node}/{settings.start_service}"
        if settings.start_service == "switch_command_type":
            try:
                from moveit_msgs.srv import ServoCommandType
            except ImportError:
                raise InputError("the package moveit_msgs is not installed (fallback/moveit_msgs has it)") from None
            self._twist = ServoCommandType.Request.TWIST
            self.create_service(ServoCommandType, service, self._switch)
        elif settings.start_service == "start_servo":
            self.create_service(Trigger, service, self._start)
        if self._gripper is not None:
            self._gripper.offer(settings.joint_states_topics[:1])
        self.every(1.0 / _JOINT_STATES_HZ, self._publish)

    def activate(self) -> None:
        self.subscribe(TwistStamped, self._settings.twist_topic, self._on_twist, watched=False)
        if self._gripper is not None:
            self._gripper.listen()

    def cleanup(self) -> None:
        if self._gripper is not None:
            self._gripper.destroy()

    def extra_diagnostics(self) -> dict[str, Any]:
        return {"unsafe_commands": self._unsafe, "takes_twists": self._takes_twists}

    def _switch(self, request: Any, response: Any) -> Any:
        self._takes_twists = response.success = request.command_type == self._twist
        return response

    def _start(self, request: Trigger.Request, response: Trigger.Response) -> Any:
        self._takes_twists = response.success = True
        return response

    def _on_twist(self, message: TwistStamped) -> None:
        topic, frame = self._settings.twist_topic, self._embodiment.base_frame
        if message.header.frame_id != frame:
            self._refuse(f"topic {topic}: expected velocities in {frame}, got them in {message.header.frame_id!r}")
            return
        self.stage.received()
        linear, angular = (
            np.array([vector.x, vector.y, vector.z]) for vector in (message.twist.linear, message.twist.angular)
        )
        if self._takes_twists and not self._arm.command(linear, angular, time.monotonic()):
            self._refuse(f"topic {topic}: expected velocities, got {linear} and {angular}")

    def _refuse(self, problem: str) -> None:
        self._unsafe += 1
        self.reject("command", problem)

    def _publish(self) -> None:
        if not self.is_active:
            return
        said = dict(zip(self._description.joints, self._arm.advance(time.monotonic()).tolist()))
        if self._gripper is not None:
            self._gripper.step(said)
        self._states.publish(joint_states(self, said))


def main() -> None:
    run(FakeServoNode)


if __name__ == "__main__":
    main()
