"""A kinematic stand-in of an X-series arm: servos in position mode with a time profile, and a gripper under effort."""

from collections.abc import Mapping, Sequence

import numpy as np

# Speed of the fingers under any effort, m/s.
_FINGER_SPEED = 0.06
# Time in which a finger opens or closes when it gets a position, seconds.
_STROKE_S = 0.4
# Efforts as xs_sdk gives them, mA: while holding, by friction in motion, for each radian between a servo and its goal,
# and the largest one (an XM430-W350 stalls at 2.3 A, ROBOTIS e-Manual).
_HOLDING, _FRICTION, _STIFFNESS, _STALL = 30.0, 100.0, 20_000.0, 2300.0


class FakeArm:
    """Each goal is reached after the profile's time, at a steady speed, but no faster than the servo's velocity allows.
    (A real servo speeds up and slows down within that time. It starts from its present speed, so under a stream of
    goals there is little of this.) Goals beyond a limit are ignored, as servos do. The caller gives the time, seconds.

    :param lower, upper, velocity: limits of the joints' positions and speeds, (n,) rad, rad/s.
    :param position: (n,) start position, rad.
    :param finger_closed, finger_open: distance of a finger from the middle, closed and open, metres.
    :param obstacles: position that a joint cannot pass from the side on which it starts, rad, by the joint's number.
    """

    def __init__(
        self,
        lower: Sequence[float],
        upper: Sequence[float],
        velocity: Sequence[float],
        position: Sequence[float],
        finger_closed: float,
        finger_open: float,
        obstacles: Mapping[int, float] | None = None,
    ) -> None:
        self._lower, self._upper = np.asarray(lower), np.asarray(upper)
        self._velocity = np.asarray(velocity)
        self._from = self._goal = np.array(position, dtype=np.float64)
        self._free = np.full((2, len(self._goal)), [[-np.inf], [np.inf]])  # range of each joint between the obstacles
        for joint, at in (obstacles or {}).items():
            self._free[int(self._goal[joint] <= at), joint] = at
        self._fingers = finger_closed, finger_open
        self._begun, self._duration = 0.0, np.zeros(len(self._goal))
        self._finger, self._effort, self._finger_at = finger_open, 0.0, 0.0
        self.profile_s, self.acceleration_s = 2.0, 1.0  # the second is kept, and changes nothing
        self.torque = True

    def position(self, now: float) -> np.ndarray:
        """(n,) radians."""
        with np.errstate(divide="ignore", invalid="ignore"):
            elapsed = np.where(self._duration > 0.0, (now - self._begun) / self._duration, 1.0)
        way = self._from + (self._goal - self._from) * np.clip(elapsed, 0.0, 1.0)
        return np.clip(way, *self._free)

    def effort(self, now: float) -> np.ndarray:
        """(n,) mA, in the direction of the goal; 0 without torque."""
        missing = self._goal - self.position(now)
        kept_off = self._goal - np.clip(self._goal, *self._free)
        moves = np.abs(missing - kept_off) > 1e-9
        effort = _HOLDING + np.where(moves, np.sign(missing) * _FRICTION, 0.0)
        blocked = np.abs(missing) <= np.abs(kept_off) + 1e-9
        effort += np.where(blocked, kept_off * _STIFFNESS, 0.0)
        return np.clip(effort, -_STALL, _STALL) if self.torque else np.zeros(len(effort))

    def command(self, goal: np.ndarray, now: float) -> list[int]:
        """:returns: the joints whose goal was ignored: not finite, or beyond a limit."""
        here = self.position(now)
        usable = np.isfinite(goal) & (goal >= self._lower) & (goal <= self._upper)
        if self.torque:
            self._from, self._begun = here, now
            self._goal = np.where(usable, goal, self._goal)
            self._duration = np.maximum(self.profile_s, np.abs(self._goal - here) / self._velocity)
        return np.flatnonzero(~usable).tolist()

    def switch_torque(self, on: bool, now: float) -> None:
        """Switch the torque. When it is switched on, a servo's goal is its present position."""
        self._from = self._goal = self.position(now)
        self.torque = on

    def move_gripper(self, effort: float, now: float) -> None:
        """:param effort: effort of the gripper's motor; opens when positive, closes when negative."""
        self._finger, self._finger_at = self.finger(now), now
        self._effort = effort if np.isfinite(effort) else 0.0

    def finger(self, now: float) -> float:
        """Distance of a finger from the middle, metres."""
        moved = self._finger + np.sign(self._effort) * _FINGER_SPEED * (now - self._finger_at)
        return float(np.clip(moved, *self._fingers))


class FakeFinger:
    """A finger that takes positions. The caller gives the time, seconds.

    :param closed, opened: position of the finger, closed and open, metres or radians; it starts open.
    """

    def __init__(self, closed: float, opened: float) -> None:
        self._limits = sorted((closed, opened))
        self._speed = abs(opened - closed) / _STROKE_S
        self._from = self._goal = opened
        self._begun = 0.0

    def position(self, now: float) -> float:
        most = self._speed * (now - self._begun)
        return float(self._from + np.clip(self._goal - self._from, -most, most))

    def arrived(self, now: float) -> bool:
        return abs(self.position(now) - self._goal) < 1e-9

    def command(self, goal: float, now: float) -> bool:
        """:returns: whether it goes there; False if the goal is not finite, or beyond a limit."""
        low, high = self._limits
        if not low - 1e-6 <= goal <= high + 1e-6:
            return False
        self._from, self._goal, self._begun = self.position(now), goal, now
        return True
