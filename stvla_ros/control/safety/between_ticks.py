"""The path between two ticks: the cubic through the positions and velocities of both.

Most steps need no check between their ticks: there is a bound for how far they may leave the straight path, and how
much faster they may be than it. If that bound does not show that every limit holds, a step is divided.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stvla_ros.control.safety.body import Body
from stvla_ros.control.safety.kinematics import Kinematics
from stvla_ros.control.safety.rotations import difference_angles
from stvla_ros.control.safety.states import State

# Number of parts that a step is divided into. The remaining uncertainty falls with its square.
PARTS = 4
# Radians or metres by which a coordinate is varied to measure how far it moves the arm.
_VARIED = 1e-4
# Factor on what was seen in the sampled positions: other positions may move the arm a little farther.
_MORE = 1.05


@dataclass(frozen=True, eq=False)
class Levers:
    """The largest motion of the arm by each coordinate.

    :param ways: (n,) largest motion of a corner or the tool point, metres per radian or metre of each coordinate.
    :param turns: (n,) largest rotation of the tool, radians per radian or metre of each coordinate.
    """

    ways: np.ndarray
    turns: np.ndarray

    @classmethod
    def seen(cls, arm: Kinematics, body: Body, positions: np.ndarray) -> "Levers":
        """:param positions: (k, n) sampled positions."""
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
    """The steps of paths, from each of their states to the next: m of them between k states.

    :param ways: states of each path, one tick apart.
    """

    def __init__(self, ways: Sequence[Sequence[State]], tick_s: float) -> None:
        self.positions = np.array([state.position for way in ways for state in way])
        self.velocities = np.array([state.velocity for way in ways for state in way])
        self.tick_s = tick_s
        follows = np.ones(len(self.positions), dtype=bool)
        follows[np.cumsum([len(way) for way in ways]) - 1] = False
        # (m,) indices of the states that another state follows.
        self.follows = np.flatnonzero(follows)

    def bends(self) -> np.ndarray:
        """(m, n) largest distance of each coordinate from the straight path. A cubic leaves it by h t (1 - t) times the
        difference between the rate at an end and the mean rate.
        """
        before, after = self.follows, self.follows + 1
        mean = (self.positions[after] - self.positions[before]) / self.tick_s
        off = np.maximum(np.abs(self.velocities[before] - mean), np.abs(self.velocities[after] - mean))
        return off * (self.tick_s / 4.0)

    def divided(self, steps: np.ndarray) -> np.ndarray:
        """(r, PARTS + 1, n) positions along some of the steps, with both ends. :param steps: (r,) indices of the
        steps.
        """
        before, after = self.follows[steps], self.follows[steps] + 1
        t = (np.arange(PARTS + 1) / PARTS)[None, :, None]
        start, end = self.positions[before, None], self.positions[after, None]
        rates = self.tick_s * self.velocities[before, None], self.tick_s * self.velocities[after, None]
        straight = start + t * (end - start)
        bent = (1.0 - t) * (rates[0] - (end - start)) - t * (rates[1] - (end - start))
        return straight + t * (1.0 - t) * bent
