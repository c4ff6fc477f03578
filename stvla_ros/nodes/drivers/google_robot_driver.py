"""Node ``google_robot_driver``: a robot whose own controller takes poses of its tool.

docs/how-to/run-a-robot.md has the contract.
"""

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from scipy.spatial.transform import Rotation
from std_msgs.msg import Float32

from stvla_ros.control.safety.requests import Setpoint
from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.nodes.kit.base import RELIABLE_QOS, SENSOR_QOS, run
from stvla_ros.nodes.kit.messages import make_header, stamp_ns
from stvla_ros.robots.pose_arm import PoseArm
from stvla_ros.robots.pose_settings import PoseSettings
from stvla_ros.settings import build

# A rotation's four numbers have length 1; numbers farther from that are no rotation.
_UNIT_TOLERANCE = 1e-2
# If the arm is turned farther from the reference than this before it is taken up, its orientation becomes the
# reference, radians.
_FAR_TURN = 0.3


class GoogleRobotDriverNode(DriverNode):
    def __init__(self) -> None:
        super().__init__("google_robot_driver")
        self._settings = build(PoseSettings, dict(self.description.settings), "driver.settings.")
        # Kept as long as the driver lives: nobody measures the gripper, and changes add up from the last command.
        self._said_gripper: float | None = None

    def make_arm(self) -> PoseArm:
        self._arm = PoseArm(np.eye(3))
        return self._arm

    def connect(self) -> None:
        self._targets = self.create_publisher(PoseStamped, self._settings.target_topic, RELIABLE_QOS)
        self._grippers = self.create_publisher(Float32, self._settings.gripper_topic, RELIABLE_QOS)

    def listen(self) -> None:
        self.subscribe(PoseStamped, self._settings.pose_topic, self._on_pose, SENSOR_QOS)

    def _on_pose(self, message: PoseStamped) -> None:
        topic = self._settings.pose_topic
        if message.header.frame_id != self.embodiment.base_frame:
            self.reject(
                topic, f"topic {topic}: expected frame_id {self.embodiment.base_frame}, got {message.header.frame_id!r}"
            )
            return
        at, turned = message.pose.position, message.pose.orientation
        quaternion = np.array([turned.x, turned.y, turned.z, turned.w])
        pose = np.eye(4)
        pose[:3, 3] = at.x, at.y, at.z
        if not abs(np.linalg.norm(quaternion) - 1.0) < _UNIT_TOLERANCE:  # also true for NaN
            self.reject(topic, f"topic {topic}: expected a unit quaternion, got {quaternion}")
            return
        pose[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
        with self.lock:
            # The reference is near the start: half a turn, where the coordinates end, is then as far away as possible.
            # An arm that is still braking, because its robot was silent for too long, keeps its coordinates.
            starts, stamp = not self.engaged and not self.gate.moving, stamp_ns(message.header)
            position = self._arm.position_of(pose)
            # The interface has no measured opening; until a command gives one, the gripper is left alone.
            counts = self.measured(position, 1.0, topic, stamp)
            if counts and starts and np.linalg.norm(position[3:]) > _FAR_TURN:
                self._arm.reference = pose[:3, :3]
                self.measure_anew()
                self.measured(self._arm.position_of(pose), 1.0, topic, stamp)

    def known_opening(self) -> float | None:
        return self._said_gripper

    def send(self, setpoint: Setpoint) -> None:
        pose = setpoint.tool_pose
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
        message = PoseStamped(header=make_header(self.now_ns(), self.embodiment.base_frame))
        message.pose = Pose(
            position=Point(**dict(zip("xyz", pose[:3, 3].tolist()))),
            orientation=Quaternion(x=float(x), y=float(y), z=float(z), w=float(w)),
        )
        self._targets.publish(message)

    def send_gripper(self, opening: float) -> None:
        # A gripper that holds a hand is closed, whatever was commanded; otherwise it was open.
        unknown = 0.0 if self.gate.releasing else 1.0
        before = unknown if self._said_gripper is None else self._said_gripper
        if opening != self._said_gripper:
            self._said_gripper = opening
            relative = opening - before
            self._grippers.publish(Float32(data=relative if self._settings.relative_gripper else opening))


def main() -> None:
    run(GoogleRobotDriverNode)


if __name__ == "__main__":
    main()
