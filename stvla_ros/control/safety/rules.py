"""What every motion is checked against, and every stop: joints, workspace, table, boxes, the arm itself, speeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stvla_ros.control.safety.body import TOLERANCE, Body, Placed, Steps
from stvla_ros.control.safety.kinematics import Kinematics
from stvla_ros.control.safety.limits import Box, SafetyLimits
from stvla_ros.control.safety.rotations import difference_angles
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

    def begin(self, in_workspace: bool) -> "MotionCheck":
        """For one motion. :param in_workspace: whether it must keep to the workspace."""
        return MotionCheck(self, in_workspace)

    def below_table(self, position: np.ndarray) -> float:
        """How far the arm's lowest part would be below the table at a position (n,), metres; 0 above or without one."""
        return float(self._below_table(position[None])[0])

    def _below_table(self, positions: np.ndarray) -> np.ndarray:
        """(k,) metres that the arm's lowest part is below the table at positions (k, n)."""
        _, below = self.excess(self.body.place(self.arm.body_poses(positions)), in_workspace=False)
        return below.max(axis=1)

    def lift(self, goal: np.ndarray, before: np.ndarray) -> float:
        """How much higher the tool must be at a goal (n,) for the arm to stay above the table, metres; where it is
        below already ``before``, for it to come no lower.
        """
        if self.limits.table_height is None:
            return 0.0
        below, already = self._below_table(np.stack([goal, before])).tolist()
        return below - already + _TABLE_INSET if below > already else 0.0

    def excess(self, placed: Placed, in_workspace: bool) -> tuple[np.ndarray, np.ndarray]:
        """(k, h) twice, metres that each moving hull is beyond the room and below the table; 0 where it is not, or
        where that does not matter.

        :param in_workspace: whether the arm must keep to the room.
        """
        room, table = self._excess(*self.body.bounds(placed), in_workspace)
        # Bounds that are within show that the hull is; elsewhere its corners decide.
        unsure = (room > 0.0) | (table > 0.0)
        for hull in np.flatnonzero(unsure.any(axis=0)).tolist():
            states = np.flatnonzero(unsure[:, hull])
            corners = self.body.corners(placed.poses[states], [hull])
            exact = self._excess(corners.min(axis=1), corners.max(axis=1), in_workspace)
            room[states, hull], table[states, hull] = exact
        return room, table

    def _excess(self, low: np.ndarray, high: np.ndarray, in_workspace: bool) -> tuple[np.ndarray, np.ndarray]:
        """:param low, high: (..., 3) least and greatest coordinates."""
        room, table = np.zeros((2, *low.shape[:-1]))
        if in_workspace:
            beyond = np.maximum(self.room.low - low, high - self.room.high)
            np.maximum(np.maximum(beyond[..., 0], beyond[..., 1]), beyond[..., 2], out=room)
            np.maximum(room, 0.0, out=room)
        if self.limits.table_height is not None:
            np.maximum(self.limits.table_height - low[..., 2], 0.0, out=table)
        return room, table


def _room(workspace: Box, allowance: float) -> Box:
    """Where all moving links must be: the workspace, grown, and open on each side that the base lies beyond, from where
    the arm reaches into it.
    """
    low = tuple(-_FAR if value > 0.0 else value - allowance for value in workspace.low)
    high = tuple(_FAR if value < 0.0 else value + allowance for value in workspace.high)
    return Box(low, high)


@dataclass(frozen=True, eq=False)
class _Allowed:
    """What a motion may break: what is broken where it begins.

    :param start: (n,) position.
    :param outside: metres that the tool point may be outside the workspace.
    :param room, table: (h,) metres that each moving hull may be beyond the room and below the table.
    :param depths: (p,) metres that pairs may be in each other.
    """

    start: np.ndarray
    outside: float
    room: np.ndarray
    table: np.ndarray
    depths: np.ndarray


class MotionCheck:
    """What is broken at the start may be mended, never made worse: an arm that was switched on outside its workspace
    must be able to return.
    """

    def __init__(self, rules: MotionRules, in_workspace: bool) -> None:
        self._rules, self._body, self._limits = rules, rules.body, rules.limits
        self._in_workspace = in_workspace
        # Metres that a point may come in a tick.
        self._longest = _BETWEEN_TICKS * rules.limits.speed * rules.tick_s
        self._allowed: _Allowed | None = None

    def check(self, ways: Sequence[Sequence[np.ndarray]]) -> float:
        """
        :param ways: of each the positions (n,) one tick apart, the first of which the arm is in. Where the first way of
            the first call begins is where the motion does.
        :returns: the greatest speed as a share of what is allowed; at most 1, where it is less, a bound of it.
        :raises MotionRefused: naming the limit that a way breaks.
        """
        # All states of all ways at once: most of what a state takes alone is the call.
        positions = np.concatenate([position for way in ways for position in way]).reshape(-1, len(ways[0][0]))
        self._check_joints(positions, self._allowed.start if self._allowed else positions[0])
        placed = self._body.place(self._rules.arm.body_poses(positions))
        tools = self._tools(placed)
        outside, (room, table) = self._outside(tools), self._rules.excess(placed, self._in_workspace)
        if self._allowed is None:
            depths = np.maximum(self._rules.allowed, self._body.depths(placed.poses[0]))
            tolerated = outside[0] + _TOLERANCE, room[0] + _TOLERANCE, table[0] + _TOLERANCE
            self._allowed = _Allowed(positions[0], *tolerated, depths)
        self._check_places(outside, room, table, self._allowed)
        follows = np.ones(len(positions), dtype=bool)
        follows[np.cumsum([len(way) for way in ways]) - 1] = False
        if not follows.any():
            return 0.0
        steps = self._body.steps(placed, np.flatnonzero(follows), self._longest)
        speed = self._speed(steps, np.diff(tools, axis=0)[steps.follows])
        # A motion that is too fast is tried again: what it would touch is looked at then.
        if speed <= 1.0:
            pair = self._body.first_contact(placed, steps, self._allowed.depths)
            if pair is not None:
                raise MotionRefused(self._contact(pair))
        return speed

    def _check_joints(self, positions: np.ndarray, start: np.ndarray) -> None:
        lower, upper = np.minimum(self._rules.lower, start), np.maximum(self._rules.upper, start)
        over = np.maximum(positions - upper, lower - positions).max(axis=0)
        if over.max() > _TOLERANCE:
            worst = int(over.argmax())
            raise MotionRefused(f"joint limit: {self._rules.arm.names[worst]} would come {over[worst]:.3g} too far")

    def _outside(self, tools: np.ndarray) -> np.ndarray:
        """(k,) metres that the tool point is outside the workspace; 0 where that does not matter."""
        return self._limits.workspace.outside(tools) if self._in_workspace else np.zeros(len(tools))

    def _check_places(self, outside: np.ndarray, room: np.ndarray, table: np.ndarray, allowed: "_Allowed") -> None:
        if (outside > allowed.outside).any():
            raise MotionRefused("workspace: the tool would leave it")
        for rule, beyond, tolerated, what in (
            ("workspace", room, allowed.room, "leave the room around it"),
            ("table", table, allowed.table, "come below it"),
        ):
            worse = (beyond - tolerated).max(axis=0)
            if worse.max() > 0.0:
                raise MotionRefused(f"{rule}: {self._body.names[int(worse.argmax())]} would {what}")

    def _tools(self, placed: Placed) -> np.ndarray:
        """(k, 3) tool points in the base's frame."""
        skeleton = self._rules.arm.skeleton
        return (placed.poses[:, skeleton.tool] @ skeleton.tool_offset[:, 3])[:, :3]

    def _speed(self, steps: Steps, tool_ways: np.ndarray) -> float:
        """:param tool_ways: (m, 3) that the tool point goes."""
        step = max(steps.ways.max(), np.sqrt(np.square(tool_ways).sum(axis=1).max()))
        turn = difference_angles(steps.turned[:, self._rules.arm.skeleton.tool].max())
        return max(step / self._longest, turn / self._rules.tick_s / self._limits.tool_turn_rate) - _TOLERANCE

    def _contact(self, pair: int) -> str:
        first, second = self._body.names_of(pair)
        if pair < self._body.own_pairs:
            return f"self-collision: {first} and {second} would touch"
        return f"forbidden box {second}: {first} would enter it"
