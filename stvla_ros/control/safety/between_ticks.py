"""What lies between two ticks: the cubic through the positions and velocities of both.

Most steps need no look between their ticks: how far they may leave the straight way, and how much faster than it they
may be, is bounded. Those for which the bound does not show that every limit holds are divided.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stvla_ros.control.safety.body import Body
from stvla_ros.control.safety.kinematics import Kinematics
from stvla_ros.control.safety.rotations import difference_angles
from stvla_ros.control.safety.states import State

# Into so many a step is divided. What a bound leaves open is less by the square of it.
PARTS = 4
# Radians or metres by which a coordinate is varied to see how far it moves the arm.
_VARIED = 1e-4
# Of what was seen in the positions that were looked at: others may move the arm a little farther.
_MORE = 1.05


@dataclass(frozen=True, eq=False)
class Levers:
    """How far a coordinate moves the arm at most.

    :param ways: (n,) metres that a corner or the tool point comes, a radian or metre of each coordinate.
    :param turns: (n,) radians that the tool turns.
    """

    ways: np.ndarray
    turns: np.ndarray

    @classmethod
    def seen(cls, arm: Kinematics, body: Body, positions: np.ndarray) -> "Levers":
        """:param positions: (k, n) that are looked at."""
        skeleton, count = arm.skeleton, len(arm.names)
        points, turns = [], []
        varied = [positions, *(positions + _VARIED * row for row in np.eye(count))]
        for poses in map(arm.body_poses, varied):
            tools = poses[:, skeleton.tool]
            points.append(np.concatenate([body.corners(poses), (tools @ skeleton.tool_offset)[:, None, :3, 3]], axis=1))
            turns.append(tools[:, :3, :3])
        ways = np.linalg.norm(np.stack(points[1:]) - points[0], axis=-1).max(axis=(1, 2))
        angles = difference_angles(np.square(np.stack(turns[1:]) - turns[0]).sum(axis=(2, 3)).max(axis=1))
        return cls(_MORE * ways / _VARIED, _MORE * angles / _VARIED)


class Steps:
    """The steps of ways, from each of their states to the next: m of them between k states.

    :param ways: of each the states one tick apart.
    """

    def __init__(self, ways: Sequence[Sequence[State]], tick_s: float) -> None:
        self.positions = np.array([state.position for way in ways for state in way])
        self.velocities = np.array([state.velocity for way in ways for state in way])
        self.tick_s = tick_s
        follows = np.ones(len(self.positions), dtype=bool)
        follows[np.cumsum([len(way) for way in ways]) - 1] = False
        # (m,) numbers of the states that another follows.
        self.follows = np.flatnonzero(follows)

    def bends(self) -> np.ndarray:
        """(m, n) that each coordinate leaves the straight way at most: a cubic leaves it by h t (1 - t) of the
        difference of its rates, the one at the ends and the one between them.
        """
        before, after = self.follows, self.follows + 1
        mean = (self.positions[after] - self.positions[before]) / self.tick_s
        off = np.maximum(np.abs(self.velocities[before] - mean), np.abs(self.velocities[after] - mean))
        return off * (self.tick_s / 4.0)

    def divided(self, steps: np.ndarray) -> np.ndarray:
        """(r, PARTS + 1, n) positions along some of the steps, with both ends. :param steps: (r,) numbers of them."""
        before, after = self.follows[steps], self.follows[steps] + 1
        t = (np.arange(PARTS + 1) / PARTS)[None, :, None]
        start, end = self.positions[before, None], self.positions[after, None]
        rates = self.tick_s * self.velocities[before, None], self.tick_s * self.velocities[after, None]
        straight = start + t * (end - start)
        bent = (1.0 - t) * (rates[0] - (end - start)) - t * (rates[1] - (end - start))
        return straight + t * (1.0 - t) * bent
