"""Decides which commands are admitted: reasons that hold the arm, the age of an observation, and the number of its
answers.
"""

from typing import Literal

from stvla_ros.control.safety.command_budget import CommandBudget
from stvla_ros.control.safety.latch import Cause
from stvla_ros.control.safety.limits import SafetyLimits
from stvla_ros.control.safety.requests import Observed

# Observations may be stamped by another clock that is a little ahead.
_FUTURE_NS = 100_000_000

# Reasons that hold the arm and end by themselves; and causes that were latched.
Inhibitor = (
    Literal["not started", "deadman", "joint states", "clock", "second publisher", "estop heartbeat", "driver"] | Cause
)


class Admission:
    """All times are nanoseconds of one steady clock.

    :param control_period_s: seconds between two commands.
    """

    def __init__(self, limits: SafetyLimits, control_period_s: float) -> None:
        self._limits = limits
        self._inhibitors: set[Inhibitor] = {"not started"}
        self._released_ns = 0
        keep_ns = round(limits.observation_age * 1e9) + _FUTURE_NS
        self._budget = CommandBudget(limits.commands_per_observation, round(control_period_s * 1e9), keep_ns)

    @property
    def inhibitors(self) -> frozenset[Inhibitor]:
        return frozenset(self._inhibitors)

    @property
    def held(self) -> str:
        """The reasons that hold the arm, as text; empty when there are none."""
        return f"held: {', '.join(sorted(self._inhibitors))}" if self._inhibitors else ""

    def inhibit(self, reason: Inhibitor) -> bool:
        """:returns: whether this reason did not hold the arm before."""
        new = reason not in self._inhibitors
        self._inhibitors.add(reason)
        return new

    def release(self, reason: Inhibitor) -> None:
        self._inhibitors.discard(reason)

    def count_from(self, now_ns: int) -> None:
        """Observations from before this time show an arm that was held, or went elsewhere."""
        self._released_ns = now_ns

    def refusal(self, observed: Observed, now_ns: int) -> str:
        """The reason why no command that answers this observation is executed now; empty when one may be."""
        if held := self.held:
            return held
        age, allowed = now_ns - observed.taken_ns, self._limits.observation_age
        if age > allowed * 1e9:
            return f"observation age: {age * 1e-9:.2f} s, {allowed:g} allowed"
        if age < -_FUTURE_NS:
            return f"observation from the future: {-age * 1e-9:.2f} s ahead"
        if observed.taken_ns < self._released_ns:
            return "observation before the release: the arm was held then"
        if self._budget.left(observed.stamp_ns, now_ns) <= 0:
            most = self._limits.commands_per_observation
            return f"commands per observation: {most} were executed for this one (commands_per_observation)"
        return ""

    def spend(self, observed: Observed, now_ns: int) -> None:
        """Record that a command that answers this observation is executed."""
        self._budget.spend(observed.stamp_ns, now_ns)
