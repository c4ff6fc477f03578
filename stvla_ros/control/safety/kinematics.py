"""What the safety gate must know of a robot's geometry."""

from typing import Protocol

import numpy as np

from stvla_ros.errors import InputError


class Unreachable(InputError):
    """There is no position nearby that reaches the pose; the message says why."""


class Kinematics(Protocol):
    """An arm with n coordinates, radians or metres each. All poses are in the robot's base frame, metres.

    :param names: of the coordinates, in the order of every position.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    def copy(self) -> "Kinematics":
        """The same arm with working memory of its own: one is used by one thread at a time."""

    def tool_pose(self, position: np.ndarray) -> np.ndarray:
        """(4, 4) float64 pose of the tool point at the position (n,)."""

    def guarded_poses(self, position: np.ndarray) -> np.ndarray:
        """(k, 4, 4) float64 poses of the points that must stay out of forbidden boxes; the first is the tool point's.

        One call, because a motion's check asks for hundreds: the way through the joints is gone once for all.
        """

    def inverse(self, pose: np.ndarray, seed: np.ndarray) -> np.ndarray:
        """The position (n,) near ``seed`` whose tool pose is ``pose`` (4, 4).

        :raises Unreachable: where there is none nearby: out of reach, or too near to a singularity.
        """
