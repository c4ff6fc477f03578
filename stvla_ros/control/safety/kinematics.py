"""What the safety gate must know of a robot's geometry."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stvla_ros.errors import InputError


class Unreachable(InputError):
    """There is no position nearby that reaches the pose; the message says why."""


@dataclass(frozen=True, eq=False)
class Hull:
    """A convex hull around a link, or around a part of it.

    :param name: of the link.
    :param body: number of the body that it moves with.
    :param corners: (m, 3) float64 in the body's frame, metres.
    :param guessed: nothing is known of the link's form: the corners are the origins of its frames, and are guarded with
        a radius around them.
    """

    name: str
    body: int
    corners: np.ndarray
    guessed: bool = False


@dataclass(frozen=True, eq=False)
class Skeleton:
    """What of an arm moves as one piece, and how it is joined.

    :param parents: of each body the one that carries it, whose number is smaller. Body 0 is the base, which carries
        all and stands still; its own parent is 0.
    :param tool: the body that the tool point belongs to.
    :param tool_offset: (4, 4) pose of the tool point in the body's frame.
    :param hulls: of all bodies that are guarded.
    """

    parents: tuple[int, ...]
    tool: int
    tool_offset: np.ndarray
    hulls: tuple[Hull, ...]


class Kinematics(Protocol):
    """An arm with n coordinates, radians or metres each. All poses are in the robot's base frame, metres.

    :param names: of the coordinates, in the order of every position.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    def copy(self) -> "Kinematics":
        """The same arm with working memory of its own: one is used by one thread at a time."""

    @property
    def skeleton(self) -> Skeleton:
        """With b bodies. It never changes."""

    def tool_pose(self, position: np.ndarray) -> np.ndarray:
        """(4, 4) float64 pose of the tool point at the position (n,)."""

    def body_poses(self, positions: np.ndarray) -> np.ndarray:
        """(k, b, 4, 4) float64 poses of all bodies at the positions (k, n); the base's is the identity.

        One call, because a motion's check asks for hundreds.
        """

    def inverse(self, pose: np.ndarray, seed: np.ndarray) -> np.ndarray:
        """The position (n,) near ``seed`` whose tool pose is ``pose`` (4, 4).

        :raises Unreachable: where there is none nearby: out of reach, or too near to a singularity.
        """
