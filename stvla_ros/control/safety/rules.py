"""What every motion is checked against, and every stop: joints, workspace, table, boxes, the arm itself, speeds."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.safety.body import TOLERANCE, Body
from stvla_ros.control.safety.kinematics import Kinematics
from stvla_ros.control.safety.limits import Box, SafetyLimits
from stvla_ros.errors import InputError

# Rounding must not refuse a motion along a limit.
_TOLERANCE = 1e-6
# Positions that tell which pairs always touch: links that hulls make thicker than they are, a box around the foot.
_DRAWN = 200
# How far above the table a target is kept, metres: the motion must not swing below it, and links turn a little.
_TABLE_INSET = 0.001
# Between two ticks a point may be a little faster than its way from one to the other tells.
_BETWEEN_TICKS = 0.99
# Where there is no wall, metres.
_FAR = 1000.0


class MotionRefused(InputError):
    """The motion would break a limit; the message names it."""


class MotionRules:
    """
    :param tick_s: seconds between two states of a motion.
    :param known: positions (n,) where the arm is meant to be, home and rest: parts that touch there may do so.
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
        self._leave_out()
        self.allowed = self._allow(known)

    def _leave_out(self) -> None:
        """Leave out the pairs that touch wherever the arm is."""
        drawn = np.random.default_rng(0).uniform(self.lower, self.upper, (_DRAWN, len(self.lower)))
        always = self.body.clearances(self.arm.body_poses(drawn)).max(axis=0) <= 0.0
        self._left_out = [self.body.names_of(int(pair)) for pair in np.flatnonzero(always)]
        self.body.keep(~always)

    def _allow(self, known: Sequence[np.ndarray]) -> np.ndarray:
        """(p,) how deep pairs of the arm's own parts may be in each other: as at the positions that are known."""
        allowed = np.zeros(len(self.body.pairs))
        if len(known):
            depths = -self.body.clearances(self.arm.body_poses(np.array(known))).min(axis=0)
            allowed[: self.body.own_pairs] = np.maximum(depths, 0.0)[: self.body.own_pairs]
        return allowed

    @property
    def remarks(self) -> tuple[str, ...]:
        """For a person, what is not guarded, and what otherwise than by its form."""
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
        """For a person, which of the arm's own parts may touch; empty where none may."""
        pairs = sorted(
            f"{' and '.join(self.body.names_of(int(pair)))} ({self.allowed[pair] * 1000:.1f} mm)"
            for pair in np.flatnonzero(self.allowed)
        )
        return f"they touch at home or at rest, and may as much everywhere: {'; '.join(pairs)}" if pairs else ""

    def broken(self, position: np.ndarray) -> list[str]:
        """What of table, boxes and the arm itself the arm would break at a position (n,); for a person."""
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

    def begin(self, start: np.ndarray, in_workspace: bool) -> "MotionCheck":
        """For a motion from ``start`` (n,). :param in_workspace: whether it must keep to the workspace."""
        return MotionCheck(self, start, in_workspace)

    def below_table(self, position: np.ndarray) -> float:
        """How far the arm's lowest part would be below the table at a position (n,), metres; 0 above or without one."""
        if self.limits.table_height is None:
            return 0.0
        lowest = self.body.corners(self.arm.body_poses(position[None]))[..., 2].min()
        return max(0.0, self.limits.table_height - float(lowest))

    def lift(self, goal: np.ndarray, before: np.ndarray) -> float:
        """How much higher the tool must be at a goal (n,) for the arm to stay above the table, metres; where it is
        below already ``before``, for it to come no lower.
        """
        below, already = self.below_table(goal), self.below_table(before)
        return below - already + _TABLE_INSET if below > already else 0.0


def _room(workspace: Box, allowance: float) -> Box:
    """Where all moving links must be: the workspace, grown, and open on each side that the base lies beyond, from where
    the arm reaches into it.
    """
    low = tuple(-_FAR if value > 0.0 else value - allowance for value in workspace.low)
    high = tuple(_FAR if value < 0.0 else value + allowance for value in workspace.high)
    return Box(low, high)


class MotionCheck:
    """What is broken at the start may be mended, never made worse: an arm that was switched on outside its workspace
    must be able to return.
    """

    def __init__(self, rules: MotionRules, start: np.ndarray, in_workspace: bool) -> None:
        self._rules, self._body, self._limits = rules, rules.body, rules.limits
        self._in_workspace = in_workspace
        self._lower, self._upper = np.minimum(rules.lower, start), np.maximum(rules.upper, start)
        poses = rules.arm.body_poses(start[None])
        corners = self._body.corners(poses)
        self._outside = self._outside_workspace(poses)[0] + _TOLERANCE
        self._out_of_room = self._beyond_room(corners)[0] + _TOLERANCE
        self._below = self._below_table(corners)[0] + _TOLERANCE
        self._allowed = np.maximum(rules.allowed, self._body.depths(poses[0]))

    def check(self, ways: Sequence[np.ndarray]) -> float:
        """
        :param ways: each (m, n) positions one tick apart, the first of which the arm is in.
        :returns: the greatest speed as a share of what is allowed.
        :raises MotionRefused: naming the limit that a way breaks.
        """
        positions = np.concatenate(ways)
        self._check_joints(positions)
        poses = self._rules.arm.body_poses(positions)
        corners = self._body.corners(poses)
        self._check_places(poses, corners)
        ends = np.cumsum([len(way) for way in ways])
        before = np.setdiff1d(np.arange(len(positions)), ends - 1)
        after = before + 1
        if not len(before):
            return 0.0
        moves = (corners[after] - corners[before]) ** 2
        steps = np.sqrt((moves[..., 0] + moves[..., 1] + moves[..., 2]).max(axis=-1))
        speed = self._speed(poses, before, after, steps)
        # A motion that is too fast is tried again: what it would touch is looked at then.
        if speed <= 1.0:
            pair = self._body.first_contact(poses, before, after, steps, self._allowed)
            if pair is not None:
                raise MotionRefused(self._contact(pair))
        return speed

    def _check_joints(self, positions: np.ndarray) -> None:
        over = np.maximum(positions - self._upper, self._lower - positions).max(axis=0)
        if over.max() > _TOLERANCE:
            worst = int(over.argmax())
            raise MotionRefused(f"joint limit: {self._rules.arm.names[worst]} would come {over[worst]:.3g} too far")

    def _check_places(self, poses: np.ndarray, corners: np.ndarray) -> None:
        if self._in_workspace and (self._outside_workspace(poses) > self._outside).any():
            raise MotionRefused("workspace: the tool would leave it")
        for rule, beyond, allowed in (
            ("workspace", self._beyond_room(corners), self._out_of_room),
            ("table", self._below_table(corners), self._below),
        ):
            worse = beyond - allowed
            if worse.max() > 0.0:
                link = self._body.names[int(worse.max(axis=0).argmax())]
                what = "leave the room around it" if rule == "workspace" else "come below it"
                raise MotionRefused(f"{rule}: {link} would {what}")

    def _outside_workspace(self, poses: np.ndarray) -> np.ndarray:
        """(k,) metres that the tool point is outside."""
        return self._limits.workspace.outside(self._tools(poses)[:, :3, 3])

    def _beyond_room(self, corners: np.ndarray) -> np.ndarray:
        """(k, h) metres that each hull is beyond the room; 0 where it does not matter."""
        if not self._in_workspace:
            return np.zeros(corners.shape[:2])
        # A hull is beyond a wall by its farthest corner.
        room = self._rules.room
        return np.maximum(room.outside(corners.min(axis=2)), room.outside(corners.max(axis=2)))

    def _below_table(self, corners: np.ndarray) -> np.ndarray:
        """(k, h) metres that each hull is below the table."""
        if self._limits.table_height is None:
            return np.zeros(corners.shape[:2])
        return np.maximum(0.0, self._limits.table_height - corners[..., 2].min(axis=-1))

    def _tools(self, poses: np.ndarray) -> np.ndarray:
        skeleton = self._rules.arm.skeleton
        return poses[:, skeleton.tool] @ skeleton.tool_offset

    def _speed(self, poses: np.ndarray, before: np.ndarray, after: np.ndarray, steps: np.ndarray) -> float:
        tools = self._tools(poses)
        step = max(steps.max(), np.linalg.norm(tools[after, :3, 3] - tools[before, :3, 3], axis=1).max())
        turns = Rotation.from_matrix(tools[after, :3, :3] @ tools[before, :3, :3].transpose(0, 2, 1)).magnitude()
        speed, turn_rate = step / self._rules.tick_s, turns.max() / self._rules.tick_s
        return max(speed / (_BETWEEN_TICKS * self._limits.speed), turn_rate / self._limits.tool_turn_rate) - _TOLERANCE

    def _contact(self, pair: int) -> str:
        first, second = self._body.names_of(pair)
        if pair < self._body.own_pairs:
            return f"self-collision: {first} and {second} would touch"
        return f"forbidden box {second}: {first} would enter it"
