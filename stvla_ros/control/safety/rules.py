"""The rules for every motion and every stop: joints, workspace, table, boxes, the arm itself, speeds."""

from collections.abc import Sequence

import numpy as np

from stvla_ros.control.safety.between_ticks import Levers
from stvla_ros.control.safety.body import TOLERANCE, Body, Placed
from stvla_ros.control.safety.kinematics import Kinematics
from stvla_ros.control.safety.limits import Box, SafetyLimits
from stvla_ros.errors import InputError

# Rounding must not refuse a motion along a limit.
_TOLERANCE = 1e-6
# Number of random positions that show which pairs always touch: links that hulls make too thick, or a box around the
# foot.
_DRAWN = 200
# Number of these that show how far each coordinate moves the arm.
_VARIED = 50
# Height above the table that a target keeps, metres: the motion must not swing below it, and links turn a little.
_TABLE_INSET = 0.001
# Distance that stands for no wall, metres.
_FAR = 1000.0


class MotionRefused(InputError):
    """The motion would break a limit; the message names it."""


class MotionRules:
    """
    :param tick_s: seconds between two states of a motion.
    :param known: positions (n,) at which the arm is meant to be, home and rest: parts that touch there may do so.
    :raises InputError: when limits and arm do not fit together.
    """

    def __init__(self, arm: Kinematics, limits: SafetyLimits, tick_s: float, known: Sequence[np.ndarray] = ()) -> None:
        limits.check_joints(arm.names)
        self.arm, self.limits, self.tick_s = arm, limits, tick_s
        joints = [limits.joints[name] for name in arm.names]
        self.lower = np.array([joint.lower + limits.joint_margin for joint in joints])
        self.upper = np.array([joint.upper - limits.joint_margin for joint in joints])
        self.body = Body(arm.skeleton, limits.forbidden, limits.guard_radius)
        self.room = _room(limits.workspace, limits.workspace_allowance)
        drawn = np.random.default_rng(0).uniform(self.lower, self.upper, (_DRAWN, len(self.lower)))
        self._leave_out(drawn)
        self.allowed = self._allow(known)
        self.levers = Levers.seen(arm, self.body, drawn[:_VARIED])

    def _leave_out(self, drawn: np.ndarray) -> None:
        """Leave out the pairs that touch at every position of the arm."""
        always = self.body.touching(self.arm.body_poses(drawn))
        self._left_out = [self.body.names_of(int(pair)) for pair in np.flatnonzero(always)]
        self.body.keep(~always)

    def _allow(self, known: Sequence[np.ndarray]) -> np.ndarray:
        """(p,) penetration that pairs of the arm's own parts may have: as much as at the known positions."""
        allowed = np.zeros(len(self.body.pairs))
        if len(known):
            depths = -self.body.clearances(self.arm.body_poses(np.array(known))).min(axis=0)
            allowed[: self.body.own_pairs] = np.maximum(depths, 0.0)[: self.body.own_pairs]
        return allowed

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks for a person: things that are not guarded, or not by their real form."""
        told = []
        if self._left_out:
            pairs = sorted({" and ".join(names) for names in self._left_out})
            told.append(f"not held apart, they touch wherever the arm is: {'; '.join(pairs)}")
        guessed = sorted({hull.name for hull in self.arm.skeleton.hulls if hull.guessed})
        if guessed:
            told.append(
                f"no collision geometry of {', '.join(guessed)}: guarded by {self.limits.guard_radius:g} m around the "
                "frames (guard_radius)"
            )
        if self.limits.table_height is None:
            told.append("no table is guarded (table_height)")
        return tuple(told)

    @property
    def touching(self) -> str:
        """The arm's own parts that may touch, as text for a person; empty if none may."""
        pairs = sorted(
            f"{' and '.join(self.body.names_of(int(pair)))} ({self.allowed[pair] * 1000:.1f} mm)"
            for pair in np.flatnonzero(self.allowed)
        )
        return f"they touch at home or at rest, and may as much everywhere: {'; '.join(pairs)}" if pairs else ""

    def broken(self, position: np.ndarray) -> list[str]:
        """The rules of table, boxes and the arm itself that the arm would break at a position (n,), as text for a
        person.
        """
        depths = self.body.depths(self.arm.body_poses(position[None])[0])
        told = []
        if (below := self.below_table(position)) > _TOLERANCE:
            told.append(f"the arm would be {below:.3f} m below the table")
        for pair in np.flatnonzero(depths > self.allowed + TOLERANCE):
            first, second = self.body.names_of(int(pair))
            own = pair < self.body.own_pairs
            told.append(
                f"{first} and {second} would touch" if own else f"{first} would be in the forbidden box {second}"
            )
        return list(dict.fromkeys(told))

    def below_table(self, position: np.ndarray) -> float:
        """The distance of the arm's lowest part below the table at a position (n,), metres; 0 above it or without a
        table.
        """
        return float(self._below_table(position[None])[0])

    def _below_table(self, positions: np.ndarray) -> np.ndarray:
        """(k,) distances of the arm's lowest part below the table at positions (k, n), metres."""
        _, below = self.excess(self.body.place(self.arm.body_poses(positions)), in_workspace=False)
        return np.maximum(below.max(axis=1), 0.0)

    def lift(self, goal: np.ndarray, before: np.ndarray) -> float:
        """The height by which the tool must be raised at a goal (n,) for the arm to stay above the table, metres. If
        the arm is already below it ``before``, it must come no lower.
        """
        if self.limits.table_height is None:
            return 0.0
        below, already = self._below_table(np.stack([goal, before])).tolist()
        return below - already + _TABLE_INSET if below > already else 0.0

    def excess(self, placed: Placed, in_workspace: bool, near: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Distances of each moving hull beyond the room and below the table, (k, h) each, metres. They are negative
        inside, and then exact only if less than ``near`` is left; otherwise they are bounds.

        :param in_workspace: whether the arm must stay in the room.
        """
        room, table = self._excess(*self.body.bounds(placed), in_workspace)
        # If the bounds are inside, the hull is; otherwise its corners decide.
        unsure = (room > -near) | (table > -near)
        for hull in np.flatnonzero(unsure.any(axis=0)).tolist():
            states = np.flatnonzero(unsure[:, hull])
            corners = self.body.corners(placed.poses[states], [hull])
            exact = self._excess(corners.min(axis=1), corners.max(axis=1), in_workspace)
            room[states, hull], table[states, hull] = exact
        return room, table

    def _excess(self, low: np.ndarray, high: np.ndarray, in_workspace: bool) -> tuple[np.ndarray, np.ndarray]:
        """:param low, high: bounds of the coordinates, (..., 3) each."""
        room, table = np.full((2, *low.shape[:-1]), -_FAR)
        if in_workspace:
            beyond = np.maximum(self.room.low - low, high - self.room.high)
            np.maximum(np.maximum(beyond[..., 0], beyond[..., 1]), beyond[..., 2], out=room)
        if self.limits.table_height is not None:
            np.subtract(self.limits.table_height, low[..., 2], out=table)
        return room, table


def _room(workspace: Box, allowance: float) -> Box:
    """The room for all moving links: the workspace, enlarged, and open on each side beyond which the base lies, since
    the arm reaches in from there.
    """
    low = tuple(-_FAR if value > 0.0 else value - allowance for value in workspace.low)
    high = tuple(_FAR if value < 0.0 else value + allowance for value in workspace.high)
    return Box(low, high)
