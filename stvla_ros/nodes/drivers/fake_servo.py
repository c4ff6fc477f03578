"""Node ``fake_servo``: the interfaces of MoveIt Servo, of the arm that it moves, and of a gripper, around a kinematic
stand-in of the arm.

For ``use_fake_hardware:=true`` and tests. Messages that would harm a real arm (NaN, another frame) are counted on
``/diagnostics``. Twists are ignored until the start service is called, as Servo does.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.fake_arm_node import FakeArmNode
from stvla_ros.nodes.drivers.fake_gripper import joint_states
from stvla_ros.nodes.drivers.robot_geometry import urdf_of
from stvla_ros.nodes.kit.base import RELIABLE_QOS, run
from stvla_ros.robots.fake_servo_arm import FakeServoArm
from stvla_ros.robots.servo_settings import ServoSettings
from stvla_ros.robots.urdf_arm import UrdfArm


class FakeServoNode(FakeArmNode[ServoSettings]):
    def __init__(self) -> None:
        super().__init__("fake_servo", ServoSettings)
        if self.begin is None:
            raise InputError(f"parameter start: expected a robot with driver.home, {self.embodiment.name} has none")
        self._begin = np.array(self.begin)
        self._takes_twists = self.settings.start_service == "none"

    def configure(self) -> None:
        super().configure()
        settings, description = self.settings, self.arm_description
        urdf = urdf_of(self, description.urdf, settings.description_topic)
        self._arm = FakeServoArm(UrdfArm(urdf, description.joints, description.tool_frame), self._begin)
        self._states = self.create_publisher(JointState, self.arm_topics[0], RELIABLE_QOS)
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

    @property
    def arm_topics(self) -> Sequence[str]:
        return self.settings.joint_states_topics[:1]

    def activate(self) -> None:
        super().activate()
        self.subscribe(TwistStamped, self.settings.twist_topic, self._on_twist, watched=False)

    def extra_diagnostics(self) -> dict[str, Any]:
        return {**super().extra_diagnostics(), "takes_twists": self._takes_twists}

    def _switch(self, request: Any, response: Any) -> Any:
        self._takes_twists = response.success = request.command_type == self._twist
        return response

    def _start(self, request: Trigger.Request, response: Trigger.Response) -> Any:
        self._takes_twists = response.success = True
        return response

    def _on_twist(self, message: TwistStamped) -> None:
        topic, frame = self.settings.twist_topic, self.embodiment.base_frame
        if message.header.frame_id != frame:
            self.refuse(f"topic {topic}: expected velocities in {frame}, got them in {message.header.frame_id!r}")
            return
        self.stage.received()
        linear, angular = (
            np.array([vector.x, vector.y, vector.z]) for vector in (message.twist.linear, message.twist.angular)
        )
        if self._takes_twists and not self._arm.command(linear, angular, time.monotonic()):
            self.refuse(f"topic {topic}: expected velocities, got {linear} and {angular}")

    def publish_joints(self) -> None:
        said = dict(zip(self.arm_description.joints, self._arm.advance(time.monotonic()).tolist()))
        self.step_gripper(said)
        self._states.publish(joint_states(self, said))


def main() -> None:
    run(FakeServoNode)


if __name__ == "__main__":
    main()
