"""Node ``moveit_servo_driver``: any arm behind MoveIt Servo, which takes velocities of the tool."""

import numpy as np
from geometry_msgs.msg import TwistStamped, Vector3
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64

from stvla_ros.control.gripper import opening_of
from stvla_ros.control.safety.requests import Setpoint
from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.drivers.robot_geometry import make_urdf_arm
from stvla_ros.nodes.kit.base import RELIABLE_QOS, SENSOR_QOS, run
from stvla_ros.nodes.kit.messages import make_header, stamp_ns
from stvla_ros.robots.servo_settings import ServoSettings
from stvla_ros.robots.urdf_arm import UrdfArm
from stvla_ros.settings import build


class MoveitServoDriverNode(DriverNode):
    def __init__(self) -> None:
        super().__init__("moveit_servo_driver")
        self._settings = build(ServoSettings, dict(self.description.settings), "driver.settings.")
        self._before: np.ndarray | None = None
        self._said_gripper: float | None = None
        self._last_opening: float | None = None

    def make_arm(self) -> UrdfArm:
        # Two: one for the gate, in whatever thread asks it, one for what is measured, in the ticker's.
        arms = [make_urdf_arm(self, self.description.arm) for _ in range(2)]
        self._measured_arm = arms[1]
        return arms[0]

    def connect(self) -> None:
        self._twists = self.create_publisher(TwistStamped, self._settings.twist_topic, RELIABLE_QOS)
        self._grippers = self.create_publisher(Float64, self._settings.gripper_topic, RELIABLE_QOS)

    def listen(self) -> None:
        self.subscribe(JointState, self._settings.joint_states_topic, self._on_joint_states, SENSOR_QOS)

    def _on_joint_states(self, message: JointState) -> None:
        settings = self._settings
        joints, finger = self.description.arm.joints, settings.finger_joint
        said = self.read_joints(message, joints, settings.joint_states_topic, (finger,) if finger else ())
        if said is None:
            return
        opening = 1.0
        if finger:
            opening = opening_of(said.position[-1], settings.finger_closed, settings.finger_open)
        count, stamp = len(joints), stamp_ns(message.header)
        self.measured(said.position[:count], opening, settings.joint_states_topic, stamp, said.effort[:count])

    def begin(self) -> None:
        self._before, self._said_gripper = None, None

    def known_opening(self) -> float | None:
        return self.opening if self._settings.finger_joint else self._last_opening

    def send(self, setpoint: Setpoint) -> None:
        pose = setpoint.tool_pose
        before, self._before = pose if self._before is None else self._before, pose
        hertz, gain = self.description.tick_hz, self._settings.gain
        # The setpoint's own speed, and what the arm is behind: speeds alone would add up to an error.
        linear, angular = _difference(before, pose) * hertz
        behind_linear, behind_angular = np.zeros((2, 3))
        with self.lock:
            held = bool(self.gate.inhibitors) and not self.gate.moving
        # An arm that is held and was pushed aside stays there: making up for it would be a motion after a stop.
        if self.fresh and not held:
            behind_linear, behind_angular = _difference(self._measured_arm.tool_pose(self.position), pose) * gain
        message = TwistStamped(header=make_header(self.now_ns(), self.embodiment.base_frame))
        limits = self.limits
        message.twist.linear = _vector(linear + behind_linear, limits.speed)
        message.twist.angular = _vector(angular + behind_angular, limits.tool_turn_rate)
        self._twists.publish(message)

    def send_gripper(self, opening: float) -> None:
        if opening != self._said_gripper:
            self._said_gripper = self._last_opening = opening
            self._grippers.publish(Float64(data=opening))


def _difference(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(2, 3): metres and radians (rotation vector) from one pose to another, in the base frame."""
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
