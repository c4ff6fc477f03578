"""Checks whether a robot's reports about itself can be true.

Nothing else tells where the arm is. So every measurement is compared with the one before it, and with the commands to
the arm. A doubt is a line for a person; without a doubt the text is empty. Times are seconds of a steady clock.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

from stvla_ros.control.safety.limits import Box, SafetyLimits

# Stamps may be this much earlier or later than the position itself, seconds: one read of the servos' bus and the timer
# behind it (xs_sdk reads at 100 Hz).
JITTER_S = 0.02
# A servo may be this far behind its setpoint, seconds: the arm may still be where an older setpoint was.
_LAG_S = 1.0
# Two measurements cannot tell a swing from rest.
_FEWEST_AT_REST = 3
_TRANSLATIONS = ("x", "y", "z")


def unit_of(coordinate: str) -> str:
    """The unit of a coordinate. A tool pose's coordinates have the names of ``PoseArm``; all others are joints."""
    return "m" if coordinate in _TRANSLATIONS else "rad"


class MotionWatch:
    """Notices positions that no arm can have reached: jumps, impossible speeds, and two sources that contradict each
    other.

    Motion beyond a coordinate's greatest speed is added up, and the sum decays at this speed. One jump fills it at
    once. Two sources with different values fill it step by step, however small their difference. Noise decays.

    :param names: names of the coordinates.
    :param limits: limits, of which ``measured_speed`` and ``measured_noise`` say what is believed.
    """

    def __init__(self, names: Sequence[str], limits: SafetyLimits) -> None:
        self._names, self._factor = tuple(names), limits.measured_speed
        self._velocities = np.array([limits.joints[name].velocity for name in names])
        self._fastest = self._factor * self._velocities
        self._most = limits.measured_noise + self._fastest * JITTER_S
        self.forget()

    def forget(self) -> None:
        """Forget everything: the next measurement begins anew."""
        self._before: tuple[np.ndarray, float] | None = None
        self._excess = np.zeros(len(self._names))

    def take(self, position: np.ndarray, at: float) -> str:
        """
        :param position: (n,) measured position, rad or m.
        :param at: time of the measurement.
        """
        before, self._before = self._before, (position, at)
        if before is None:
            return ""
        return self._doubt(position - before[0], max(0.0, at - before[1]))

    def overtaken(self, position: np.ndarray, by_s: float) -> str:
        """A measurement that came too late to count must still not contradict the one that overtook it.

        :param by_s: difference of their ages, seconds.
        """
        return "" if self._before is None else self._doubt(position - self._before[0], by_s)

    def _doubt(self, moved: np.ndarray, passed_s: float) -> str:
        self._excess = np.maximum(0.0, self._excess + np.abs(moved) - self._fastest * passed_s)
        worst = int((self._excess - self._most).argmax())
        if self._excess[worst] <= self._most[worst]:
            return ""
        # As soon as all is well again, there is no doubt any more.
        self._excess = np.minimum(self._excess, self._most)
        name, unit = self._names[worst], unit_of(self._names[worst])
        return (
            f"{name} moved {abs(moved[worst]):.3g} {unit} within {passed_s:.3g} s, expected at most {self._factor:g} "
            f"times {self._velocities[worst]:g} {unit}/s: a jump, or two sources that contradict each other"
        )


class PlaceWatch:
    """Notices a tool outside the workspace that no setpoint led there.

    :param limits: limits ``workspace`` and ``measured_outside``: the distance outside up to which a lag is believed.
    """

    def __init__(self, limits: SafetyLimits) -> None:
        self._workspace: Box = limits.workspace
        self._allowed = limits.measured_outside
        self.forget()

    def forget(self) -> None:
        self._asked: deque[tuple[float, float]] = deque()

    def asked(self, tool: np.ndarray, now: float) -> None:
        """:param tool: (3,) tool point of a setpoint. The place where the arm was taken up, home and rest may be
        outside.
        """
        self._asked.append((now, float(self._workspace.outside(tool))))
        while now - self._asked[0][0] > _LAG_S:
            self._asked.popleft()

    def take(self, tool: np.ndarray) -> str:
        """:param tool: (3,) tool point of the measured position."""
        if not self._asked:
            return ""
        outside, asked = float(self._workspace.outside(tool)), max(each for _, each in self._asked)
        if outside <= asked + self._allowed:
            return ""
        return (
            f"the tool is {outside:.3g} m outside the workspace, expected at most {asked + self._allowed:.3g} m: "
            "nothing was sent there"
        )


class RestWatch:
    """Tells whether the arm rests, from its positions alone: servos may report wrong velocities.

    :param names: names of the coordinates.
    :param limits: limits; at rest no coordinate moves faster than ``rest_speed``, for ``rest_time``.
    """

    def __init__(self, names: Sequence[str], limits: SafetyLimits) -> None:
        self._names, self._limits = tuple(names), limits
        self.forget()

    def forget(self) -> None:
        self._seen: deque[tuple[float, np.ndarray]] = deque()

    def take(self, position: np.ndarray, at: float) -> None:
        """
        :param position: (n,) measured position, rad or m.
        :param at: time of the measurement.
        """
        if self._seen and at - self._seen[-1][0] > self._limits.joint_state_timeout:
            self.forget()
        self._seen.append((at, position))
        while len(self._seen) > _FEWEST_AT_REST and at - self._seen[1][0] >= self._limits.rest_time:
            self._seen.popleft()

    def motion(self) -> str:
        """The reason why the arm cannot be said to rest; empty when it does."""
        span = self._seen[-1][0] - self._seen[0][0] if self._seen else 0.0
        if len(self._seen) < _FEWEST_AT_REST or span < self._limits.rest_time:
            return f"expected {self._limits.rest_time:g} s of measurements at rest, got {span:.2g} s so far"
        positions = np.stack([position for _, position in self._seen])
        speeds = np.ptp(positions, axis=0) / span
        fastest = int(speeds.argmax())
        if speeds[fastest] <= self._limits.rest_speed:
            return ""
        name, unit = self._names[fastest], unit_of(self._names[fastest])
        kind = "" if unit == "m" else "joint "
        return f"{kind}{name} moves at {speeds[fastest]:.2g} {unit}/s, expected less than {self._limits.rest_speed:g}"
