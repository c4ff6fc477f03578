"""A robot whose own controller takes tool poses. To the safety gate it is an arm whose coordinates are the pose."""

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.safety.kinematics import Hull, Skeleton, Unreachable

# At half a turn from the reference the rotation vector jumps to the other side.
_FARTHEST_TURN = 0.9 * np.pi


class PoseArm:
    """Coordinates: x, y, z metres, and the rotation vector from the reference orientation, radians, both in the base
    frame.

    :param reference: (3, 3) orientation of the tool at rotation zero. May be changed while the arm is held.
    """

    # Only the robot's tool point is known.
    skeleton = Skeleton((0, 0), 1, np.eye(4), (Hull("tool", 1, np.zeros((1, 3)), guessed=True),))
    names = ("x", "y", "z", "rx", "ry", "rz")

    def __init__(self, reference: np.ndarray) -> None:
        self.reference = np.asarray(reference, dtype=np.float64)

    def copy(self) -> "PoseArm":
        """The arm itself: it has no working memory."""
        return self

    def position_of(self, pose: np.ndarray) -> np.ndarray:
        """Coordinates (6,) of a tool pose (4, 4)."""
        turn = Rotation.from_matrix(pose[:3, :3] @ self.reference.T).as_rotvec()
        return np.concatenate([pose[:3, 3], turn])

    def tool_pose(self, position: np.ndarray) -> np.ndarray:
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec(position[3:]).as_matrix() @ self.reference
        pose[:3, 3] = position[:3]
        return pose

    def body_poses(self, positions: np.ndarray) -> np.ndarray:
        poses = np.tile(np.eye(4), (len(positions), 2, 1, 1))
        poses[:, 1, :3, :3] = Rotation.from_rotvec(positions[:, 3:]).as_matrix() @ self.reference
        poses[:, 1, :3, 3] = positions[:, :3]
        return poses

    def inverse(self, pose: np.ndarray, seed: np.ndarray) -> np.ndarray:
        """:raises Unreachable: for an orientation nearly half a turn from the reference."""
        position = self.position_of(pose)
        if np.linalg.norm(position[3:]) > _FARTHEST_TURN:
            raise Unreachable(f"rotation: expected less than {_FARTHEST_TURN:.2f} rad from the start, got more")
        return position
