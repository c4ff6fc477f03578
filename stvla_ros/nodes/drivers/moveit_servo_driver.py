"""Node ``moveit_servo_driver``: any arm behind MoveIt Servo, which takes velocities of the tool."""

import time
from collections import deque

import numpy as np
from geometry_msgs.msg import TwistStamped, Vector3
from scipy.spatial.transform import Rotation
from std_srvs.srv import Trigger

from stvla_ros.control.safety.requests import Setpoint
from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.drivers.gripper_output import GripperOutput
from stvla_ros.nodes.drivers.joint_states_input import JointStatesInput
from stvla_ros.nodes.drivers.robot_geometry import make_urdf_arm
from stvla_ros.nodes.kit.base import RELIABLE_QOS, run
from stvla_ros.nodes.kit.messages import make_header
from stvla_ros.nodes.kit.service_sequence import Steps
from stvla_ros.robots.servo_settings import ServoSettings
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.settings import build

# The setpoint's way after which a measurement that is still the same hangs: what an arm of 0.1 s of latency is behind.
_UNSEEN_M, _UNSEEN_RAD = 0.02, 0.1


class MoveitServoDriverNode(DriverNode):
    def __init__(self) -> None:
        super().__init__("moveit_servo_driver")
        self._settings = settings = build(ServoSettings, dict(self.description.settings), "driver.settings.")
        self._states = JointStatesInput(self, settings.joint_states_topics, settings.gripper)
        self._gripper = GripperOutput(self, settings.gripper)
        self._sent: deque[tuple[float, np.ndarray]] = deque()
        self._last_change: tuple[np.ndarray, np.ndarray] | None = None

    def make_arm(self) -> UrdfArm:
        # Two arms: one for the gate, in whatever thread uses it, and one for measurements, in the ticker's thread.
        arms = [make_urdf_arm(self, self.description.arm) for _ in range(2)]
        self._measured_arm = arms[1]
        return arms[0]

    def connect(self) -> None:
        settings = self._settings
        self._twists = self.create_publisher(TwistStamped, settings.twist_topic, RELIABLE_QOS)
        service = f"{settings.servo_node}/{settings.start_service}"
        if settings.start_service == "switch_command_type":
            try:
                from moveit_msgs.srv import ServoCommandType
            except ImportError:
                raise InputError(
                    "the package moveit_msgs is not installed: expected MoveIt (ros-$ROS_DISTRO-moveit-msgs), or "
                    "another driver.settings.start_service"
                ) from None
            self._start = self.create_client(ServoCommandType, service)
            self._start_request = ServoCommandType.Request(command_type=ServoCommandType.Request.TWIST)
        elif settings.start_service == "start_servo":
            self._start, self._start_request = self.create_client(Trigger, service), Trigger.Request()
        self._gripper.connect()

    def cleanup(self) -> None:
        super().cleanup()
        self._gripper.disconnect()

    def listen(self) -> None:
        self._states.listen()

    def engage(self) -> Steps:
        """Servo may have changed its input, or be another process than before: it is told each time."""
        settings = self._settings
        if settings.start_service != "none":
            answer = yield self._start, self._start_request
            if not answer.success:
                raise InputError(
                    f"service {settings.servo_node}/{settings.start_service}: Servo refused to take twists"
                )

    def begin(self) -> None:
        self._sent.clear()
        self._last_change = None
        self._gripper.begin()

    def known_opening(self) -> float | None:
        return self._gripper.known_opening()

    def send(self, setpoint: Setpoint) -> None:
        pose = setpoint.tool_pose
        before = self._sent[-1][1] if self._sent else pose
        self._sent.append((time.monotonic(), pose))
        hertz, gain = self.description.tick_hz, self._settings.gain
        # The setpoint's own velocity plus a correction of the arm's lag: velocities alone would add up to an error.
        linear, angular = _difference(before, pose) * hertz
        behind_linear, behind_angular = np.zeros((2, 3))
        with self.lock:
            held = bool(self.gate.inhibitors) and not self.gate.moving
            position, should = self.position, self._sent_at(self.measurements.last.at)
        # An arm that is held and was pushed aside stays there: correcting this would be a motion after a stop.
        if self.fresh and not held and self._is_seen_to_follow(position, pose):
            behind_linear, behind_angular = _difference(self._measured_arm.tool_pose(position), should) * gain
        message = TwistStamped(header=make_header(self.now_ns(), self.embodiment.base_frame))
        limits = self.limits
        message.twist.linear = _vector(linear + behind_linear, limits.speed)
        message.twist.angular = _vector(angular + behind_angular, limits.tool_turn_rate)
        self._twists.publish(message)

    def _is_seen_to_follow(self, position: np.ndarray, pose: np.ndarray) -> bool:
        """Whether the measurement changes while the setpoint does. One that hangs would be corrected without an end."""
        if self._last_change is None or not np.array_equal(position, self._last_change[0]):
            self._last_change = position, pose
        linear, angular = _difference(self._last_change[1], pose)
        return float(np.linalg.norm(linear)) < _UNSEEN_M and float(np.linalg.norm(angular)) < _UNSEEN_RAD

    def _sent_at(self, at: float) -> np.ndarray:
        """The pose that was sent last before this time of the steady clock. An arm that tells late where it was is
        compared with where it should have been then, or else it would run ahead, and beyond its limits.
        """
        while len(self._sent) > 1 and self._sent[1][0] <= at:
            self._sent.popleft()
        return self._sent[0][1]

    def send_gripper(self, opening: float) -> None:
        self._gripper.tell(opening)

    def check_gripper(self) -> Steps:
        return self._gripper.check()


def _difference(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(2, 3) difference from one pose to another in the base frame: metres and radians (rotation vector)."""
    turn = Rotation.from_matrix(end[:3, :3] @ start[:3, :3].T).as_rotvec()
    return np.stack([end[:3, 3] - start[:3, 3], turn])


def _vector(value: np.ndarray, most: float) -> Vector3:
    length = float(np.linalg.norm(value))
    value = value * min(1.0, most / length) if length > 0.0 else value
    return Vector3(x=float(value[0]), y=float(value[1]), z=float(value[2]))


def main() -> None:
    run(MoveitServoDriverNode)


if __name__ == "__main__":
    main()
