"""Limits the number of commands for one observation to the number of actions in a policy's chunk."""

from collections import deque

# Observations whose stamps are closer than this share of a control period count as one. Answered observations are at
# least that far apart (``chunk_execution.SPACING``); closer stamps come from rounding, or from an attempt to cheat the
# limit.
_SAME = 0.5


class CommandBudget:
    """
    :param most: largest number of commands for one observation.
    :param period_ns: length of a control period.
    :param keep_ns: time after which an observation is too old for commands anyway, so that it may be forgotten.
    """

    def __init__(self, most: int, period_ns: int, keep_ns: int) -> None:
        self._most, self._near_ns, self._keep_ns = most, _SAME * period_ns, keep_ns
        self._spent: deque[tuple[int, int]] = deque()

    def left(self, stamp_ns: int, now_ns: int) -> int:
        """The number of commands that may still answer the observation with this stamp.

        :param now_ns: time of a steady clock, which need not be the stamps' clock.
        """
        while self._spent and now_ns - self._spent[0][0] > self._keep_ns:
            self._spent.popleft()
        return self._most - sum(abs(stamp_ns - other) < self._near_ns for _, other in self._spent)

    def spend(self, stamp_ns: int, now_ns: int) -> None:
        """Record that a command that answers this observation is executed."""
        self._spent.append((now_ns, stamp_ns))
