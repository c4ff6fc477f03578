"""The safety gate's view of a robot's geometry."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stvla_ros.errors import InputError


class Unreachable(InputError):
    """No position nearby reaches the pose; the message says why."""


@dataclass(frozen=True, eq=False)
class Hull:
    """A convex hull around a link, or around a part of it.

    :param name: name of the link.
    :param body: index of the body that it moves with.
    :param corners: (m, 3) float64 in the body's frame, metres.
    :param guessed: whether the link's form is unknown: the corners are then the origins of its frames, and are guarded
        with a radius around them.
    """

    name: str
    body: int
    corners: np.ndarray
    guessed: bool = False


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The rigid bodies of an arm, and their joints.

    :param parents: index of the body that carries each body, always the smaller one. Body 0 is the base, which carries
        all and stands still; its own parent is 0.
    :param tool: index of the body that the tool point belongs to.
    :param tool_offset: (4, 4) pose of the tool point in the body's frame.
    :param hulls: hulls of all guarded bodies.
    """

    parents: tuple[int, ...]
    tool: int
    tool_offset: np.ndarray
    hulls: tuple[Hull, ...]


class Kinematics(Protocol):
    """An arm with n coordinates, radians or metres each. All poses are in the robot's base frame, metres.

    :param names: names of the coordinates, in the order of every position.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    def copy(self) -> "Kinematics":
        """The same arm with working memory of its own: an arm is used by one thread at a time."""

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton with b bodies. It never changes."""

    def tool_pose(self, position: np.ndarray) -> np.ndarray:
        """(4, 4) float64 pose of the tool point at the position (n,)."""

    def body_poses(self, positions: np.ndarray) -> np.ndarray:
        """(k, b, 4, 4) float64 poses of all bodies at the positions (k, n); the base's is the identity.

        A single call, because a motion's check needs hundreds of positions.
        """

    def inverse(self, pose: np.ndarray, seed: np.ndarray) -> np.ndarray:
        """The position (n,) near ``seed`` whose tool pose is ``pose`` (4, 4).

        :raises Unreachable: when there is none nearby: the pose is out of reach, or too near to a singularity.
        """
