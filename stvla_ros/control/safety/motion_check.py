"""Checks whether a motion, or a stop, obeys every rule: at each of its ticks, and between any two of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stvla_ros.control.safety.between_ticks import PARTS, Steps
from stvla_ros.control.safety.body import Moves, Placed
from stvla_ros.control.safety.rotations import difference_angles
from stvla_ros.control.safety.rules import MotionRefused, MotionRules
from stvla_ros.control.safety.states import State
from stvla_ros.control.safety.touching import first_contact

# Rounding must not refuse a motion along a limit.
_TOLERANCE = 1e-6
# Tolerance between two ticks, metres or radians: the uncertainty that remains after dividing a step, and the part that
# a cubic adds where the arm comes to rest before the tick.
_TOLERANCE_BETWEEN = 5e-5
# Between two checked instants, a point may be a little faster than the distance between its two places tells.
_SLOWER = 0.99


@dataclass(frozen=True, eq=False)
class _Seen:
    """Facts about an arm in k states.

    :param outside: (k,) distance of the tool point outside the workspace, metres; negative inside.
    :param room, table: distance of each moving hull beyond the room, and below the table, (k, h) each, metres.
    """

    positions: np.ndarray
    placed: Placed
    tools: np.ndarray
    outside: np.ndarray
    room: np.ndarray
    table: np.ndarray


@dataclass(frozen=True, eq=False)
class _Allowed:
    """Violations that a motion may have, because they exist where it begins.

    :param lower, upper: limits of the positions, (n,) each.
    :param outside: distance that the tool point may be outside the workspace, metres.
    :param room, table: distances that each moving hull may be beyond the room and below the table, (h,) each, metres.
    :param depths: penetration that each pair may have, (p,) metres.
    """

    lower: np.ndarray
    upper: np.ndarray
    outside: float
    room: np.ndarray
    table: np.ndarray
    depths: np.ndarray


class MotionCheck:
    """The check of one motion and its stops. Violations at the start may become smaller, but never larger: an arm that
    was switched on outside its workspace must be able to return.

    :param in_workspace: whether it must stay in the workspace.
    """

    def __init__(self, rules: MotionRules, in_workspace: bool) -> None:
        self._rules, self._body, self._limits = rules, rules.body, rules.limits
        self._in_workspace = in_workspace
        # Distance that a point may move in a tick, metres.
        self._longest = _SLOWER * rules.limits.speed * rules.tick_s
        joints = [rules.limits.joints[name] for name in rules.arm.names]
        jerks = np.array([joint.jerk for joint in joints])
        # At its maximum, a speed changes on both sides no faster than the jerk allows. So in a whole tick beside the
        # maximum, a point moves less by this distance, and the tool turns less by this angle.
        self._shorter = float(rules.levers.ways @ jerks) * rules.tick_s**3 / 6.0
        self._turns_less = float(rules.levers.turns @ jerks) * rules.tick_s**3 / 6.0
        self._allowed: _Allowed | None = None

    def check(self, ways: Sequence[Sequence[State]]) -> float:
        """
        :param ways: states of each path, one tick apart, from the arm's present state on. The start of the first path
            in the first call is the start of the motion.
        :returns: the greatest speed as a share of the allowed one; at most 1. Where it is less, it may be an upper
            bound.
        :raises MotionRefused: naming the limit that a path breaks.
        """
        # All states of all paths at once: most of the time for a single state is the call itself.
        steps = Steps(ways, self._rules.tick_s)
        bends = steps.bends()
        # Largest distance of any point from the straight path between two ticks, metres.
        bent = bends @ self._rules.levers.ways
        seen = self._look(steps.positions, float(bent.max(initial=0.0)))
        if self._allowed is None:
            self._allowed = self._allow(seen)
        self._check_places(seen, _TOLERANCE)
        if not len(steps.follows):
            return 0.0
        moves = self._body.moves(seen.placed, steps.follows, max(0.0, self._longest - self._shorter))
        speeds, turns = self._speeds(moves, seen, 1)
        fastest = max(float(speeds.max()), float(turns.max()))
        # A motion that is too fast is planned again; contacts are checked then.
        if fastest > 1.0:
            return fastest
        pair, near = first_contact(self._body, seen.placed, moves, self._allowed.depths, bent)
        if pair is not None:
            raise MotionRefused(self._contact(pair))
        near |= speeds > 1.0 - self._shorter / self._longest
        near |= turns > 1.0 - self._turns_less / (self._limits.tool_turn_rate * self._rules.tick_s)
        near |= self._near_places(seen, steps, bends, bent)
        return max(fastest, self._check_between(steps, np.flatnonzero(near))) if near.any() else fastest

    def _check_between(self, steps: Steps, near: np.ndarray) -> float:
        """As :meth:`check`. :param near: (r,) indices of the steps that are checked more closely."""
        divided = steps.divided(near)
        seen = self._look(divided.reshape(-1, divided.shape[-1]), 0.0)
        self._check_places(seen, _TOLERANCE_BETWEEN)
        follows = np.arange(len(near) * (PARTS + 1)).reshape(len(near), -1)[:, :-1].ravel()
        moves = self._body.moves(seen.placed, follows, self._longest / PARTS)
        speeds, turns = self._speeds(moves, seen, PARTS)
        fastest = max(float(speeds.max()), float(turns.max()))
        if fastest <= 1.0:
            pair, _ = first_contact(self._body, seen.placed, moves, self._allowed.depths, np.zeros(len(follows)))
            if pair is not None:
                raise MotionRefused(self._contact(pair))
        return fastest

    def _look(self, positions: np.ndarray, near: float) -> _Seen:
        """:param near: distance from room and table, metres, within which hulls' distances to them are exact."""
        rules, skeleton = self._rules, self._rules.arm.skeleton
        placed = self._body.place(rules.arm.body_poses(positions))
        tools = (placed.poses[:, skeleton.tool] @ skeleton.tool_offset[:, 3])[:, :3]
        outside = np.full(len(tools), -np.inf)
        if self._in_workspace:
            box = self._limits.workspace
            outside = np.maximum(box.low - tools, tools - box.high).max(axis=1)
        return _Seen(positions, placed, tools, outside, *rules.excess(placed, self._in_workspace, near))

    def _allow(self, seen: _Seen) -> _Allowed:
        """The allowed violations, from the first of the states."""
        start = seen.positions[0]
        return _Allowed(
            np.minimum(self._rules.lower, start),
            np.maximum(self._rules.upper, start),
            max(0.0, float(seen.outside[0])),
            np.maximum(seen.room[0], 0.0),
            np.maximum(seen.table[0], 0.0),
            np.maximum(self._rules.allowed, self._body.depths(seen.placed.poses[0])),
        )

    def _check_places(self, seen: _Seen, tolerance: float) -> None:
        allowed = self._allowed
        over = np.maximum(seen.positions - allowed.upper, allowed.lower - seen.positions).max(axis=0)
        if over.max() > tolerance:
            worst = int(over.argmax())
            raise MotionRefused(f"joint limit: {self._rules.arm.names[worst]} would come {over[worst]:.3g} too far")
        if (seen.outside > allowed.outside + tolerance).any():
            raise MotionRefused("workspace: the tool would leave it")
        for rule, beyond, tolerated, what in (
            ("workspace", seen.room, allowed.room, "leave the room around it"),
            ("table", seen.table, allowed.table, "come below it"),
        ):
            worse = (beyond - tolerated).max(axis=0)
            if worse.max() > tolerance:
                raise MotionRefused(f"{rule}: {self._body.names[int(worse.argmax())]} would {what}")

    def _near_places(self, seen: _Seen, steps: Steps, bends: np.ndarray, bent: np.ndarray) -> np.ndarray:
        """(m,) whether the arm might break a limit between two ticks that it keeps at both."""
        allowed = self._allowed
        left = np.minimum(allowed.upper - seen.positions, seen.positions - allowed.lower)
        beyond = np.maximum((seen.room - allowed.room).max(axis=1), (seen.table - allowed.table).max(axis=1))
        np.maximum(beyond, seen.outside - allowed.outside, out=beyond)
        before, after = steps.follows, steps.follows + 1
        near = (np.minimum(left[before], left[after]) < bends).any(axis=1)
        return near | (np.maximum(beyond[before], beyond[after]) + bent > 0.0)

    def _speeds(self, moves: Moves, seen: _Seen, parts: int) -> tuple[np.ndarray, np.ndarray]:
        """Speeds of any point, and of the tool's rotation, as shares of the allowed ones, (m,) each; see :meth:`check`.

        :param parts: number of parts of a tick, of which a move takes one.
        """
        tools = np.diff(seen.tools, axis=0)[moves.follows]
        ways = np.maximum(moves.ways.max(axis=1), np.sqrt(np.square(tools).sum(axis=1)))
        turns = difference_angles(moves.turned[:, self._rules.arm.skeleton.tool])
        most = self._limits.tool_turn_rate * self._rules.tick_s
        return ways / self._longest * parts - _TOLERANCE, turns / most * parts - _TOLERANCE

    def _contact(self, pair: int) -> str:
        first, second = self._body.names_of(pair)
        if pair < self._body.own_pairs:
            return f"self-collision: {first} and {second} would touch"
        return f"forbidden box {second}: {first} would enter it"
