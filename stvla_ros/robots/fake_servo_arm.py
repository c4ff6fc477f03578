"""A kinematic stand-in of an arm behind MoveIt Servo: its tool moves by velocities."""

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.safety.kinematics import Unreachable
from stvla_ros.robots.urdf_arm import UrdfArm

# Servo's own default of incoming_command_timeout, seconds: without a newer twist it halts.
_COMMAND_TIMEOUT_S = 0.1


class FakeServoArm:
    """Follows the newest velocity until it is too old. It halts where the tool cannot go, as Servo does before limits
    and singularities. The caller gives the time, seconds, which does not run backwards.

    :param position: (n,) start position, rad.
    """

    def __init__(self, arm: UrdfArm, position: np.ndarray) -> None:
        self._arm = arm
        self._position = np.array(position, dtype=np.float64)
        # Kept beside the joints: steps smaller than what the inverse kinematics cares for would be lost otherwise.
        self._pose = arm.tool_pose(self._position)
        self._linear, self._angular = np.zeros((2, 3))
        self._told_at = self._moved_to = -np.inf

    def command(self, linear: np.ndarray, angular: np.ndarray, now: float) -> bool:
        """
        :param linear, angular: (3,) velocity of the tool in the base frame, m/s and rad/s.
        :returns: whether it follows them; False if they are not finite.
        """
        if not (np.isfinite(linear).all() and np.isfinite(angular).all()):
            return False
        self.advance(now)
        self._linear, self._angular, self._told_at = linear, angular, now
        return True

    def advance(self, now: float) -> np.ndarray:
        """Move on to this time. :returns: (n,) position of the joints, rad."""
        moving_s = min(now, self._told_at + _COMMAND_TIMEOUT_S) - max(self._moved_to, self._told_at)
        self._moved_to = now
        if moving_s > 0.0:
            pose = self._pose.copy()
            pose[:3, 3] += self._linear * moving_s
            pose[:3, :3] = Rotation.from_rotvec(self._angular * moving_s).as_matrix() @ pose[:3, :3]
            try:
                self._position = self._arm.inverse(pose, self._position)
                self._pose = pose
            except Unreachable:
                pass
        return self._position
