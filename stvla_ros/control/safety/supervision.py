"""Whether what a robot says of itself can be true.

Nothing else tells where the arm is. So every measurement is held against the one before it, and against what the arm
was asked for. A doubt is a line for a person; without one the text is empty. Times are seconds of a steady clock.
"""

from collections import deque
from collections.abc import Sequence

import numpy as np

from stvla_ros.control.safety.limits import Box, SafetyLimits

# Stamps are taken up to so much sooner or later than the position itself, seconds: one read of the servos' bus and the
# timer behind it (xs_sdk reads at 100 Hz).
JITTER_S = 0.02
# A servo may be so far behind its setpoint, seconds: what was asked for so long ago may be where the arm is.
_LAG_S = 1.0
# Two measurements do not tell a swing from rest.
_FEWEST_AT_REST = 3
_TRANSLATIONS = ("x", "y", "z")


def unit_of(coordinate: str) -> str:
    """Of a coordinate: those of a tool's pose are named as ``PoseArm`` names them, all others are joints."""
    return "m" if coordinate in _TRANSLATIONS else "rad"


class MotionWatch:
    """Notices positions that no arm can have reached: jumps, speeds, and two sources that contradict each other.

    What a coordinate moves beyond its greatest speed is added up, and fades at this speed. One jump fills the sum at
    once; two sources that say different things fill it step by step, however little they differ; noise fades.

    :param names: of the coordinates.
    :param limits: ``measured_speed`` and ``measured_noise`` say what is believed.
    """

    def __init__(self, names: Sequence[str], limits: SafetyLimits) -> None:
        self._names, self._factor = tuple(names), limits.measured_speed
        self._velocities = np.array([limits.joints[name].velocity for name in names])
        self._fastest = self._factor * self._velocities
        self._most = limits.measured_noise + self._fastest * JITTER_S
        self.forget()

    def forget(self) -> None:
        """The next measurement begins anew."""
        self._before: tuple[np.ndarray, float] | None = None
        self._excess = np.zeros(len(self._names))

    def take(self, position: np.ndarray, at: float) -> str:
        """
        :param position: (n,) measured, rad or m.
        :param at: when it was measured.
        """
        before, self._before = self._before, (position, at)
        if before is None:
            return ""
        return self._doubt(position - before[0], max(0.0, at - before[1]))

    def overtaken(self, position: np.ndarray, by_s: float) -> str:
        """One that came too late to count must not contradict the one that overtook it.

        :param by_s: how much older it is, seconds.
        """
        return "" if self._before is None else self._doubt(position - self._before[0], by_s)

    def _doubt(self, moved: np.ndarray, passed_s: float) -> str:
        self._excess = np.maximum(0.0, self._excess + np.abs(moved) - self._fastest * passed_s)
        worst = int((self._excess - self._most).argmax())
        if self._excess[worst] <= self._most[worst]:
            return ""
        # As soon as all is well again, nothing is doubted any more.
        self._excess = np.minimum(self._excess, self._most)
        name, unit = self._names[worst], unit_of(self._names[worst])
        return (
            f"{name} moved {abs(moved[worst]):.3g} {unit} within {passed_s:.3g} s, expected at most {self._factor:g} "
            f"times {self._velocities[worst]:g} {unit}/s: a jump, or two sources that contradict each other"
        )


class PlaceWatch:
    """Notices a tool outside the workspace that nobody sent there.

    :param limits: ``workspace``, and ``measured_outside``: how far outside a lag is believed.
    """

    def __init__(self, limits: SafetyLimits) -> None:
        self._workspace: Box = limits.workspace
        self._allowed = limits.measured_outside
        self.forget()

    def forget(self) -> None:
        self._asked: deque[tuple[float, float]] = deque()

    def asked(self, tool: np.ndarray, now: float) -> None:
        """:param tool: (3,) tool point of a setpoint: where the arm was taken up, home and rest may be outside."""
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
    """Whether the arm rests, from its positions alone: what servos say of their velocities need not be true.

    :param names: of the coordinates.
    :param limits: at rest no coordinate moves faster than ``rest_speed``, for ``rest_time``.
    """

    def __init__(self, names: Sequence[str], limits: SafetyLimits) -> None:
        self._names, self._limits = tuple(names), limits
        self.forget()

    def forget(self) -> None:
        self._seen: deque[tuple[float, np.ndarray]] = deque()

    def take(self, position: np.ndarray, at: float) -> None:
        """
        :param position: (n,) measured, rad or m.
        :param at: when it was measured.
        """
        if self._seen and at - self._seen[-1][0] > self._limits.joint_state_timeout:
            self.forget()
        self._seen.append((at, position))
        while len(self._seen) > _FEWEST_AT_REST and at - self._seen[1][0] >= self._limits.rest_time:
            self._seen.popleft()

    def motion(self) -> str:
        """Why the arm cannot be said to rest; empty when it does."""
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
