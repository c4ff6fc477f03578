"""How many commands one observation may lead to: as many as a policy's chunk has actions."""

from collections import deque

# Observations whose stamps are closer than this share of a control period count as one: policies are asked about
# observations that are at least so far apart (``chunk_execution.SPACING``), and stamps of one that differ by less are
# another's rounding, or somebody's trick.
_SAME = 0.5


class CommandBudget:
    """
    :param most: commands for one observation.
    :param period_ns: control period.
    :param keep_ns: time after which an observation is too old for commands anyway, so that it may be forgotten.
    """

    def __init__(self, most: int, period_ns: int, keep_ns: int) -> None:
        self._most, self._near_ns, self._keep_ns = most, _SAME * period_ns, keep_ns
        self._spent: deque[tuple[int, int]] = deque()

    def left(self, stamp_ns: int, now_ns: int) -> int:
        """How many commands may still answer the observation with this stamp.

        :param now_ns: of a steady clock, which need not be the stamps'.
        """
        while self._spent and now_ns - self._spent[0][0] > self._keep_ns:
            self._spent.popleft()
        return self._most - sum(abs(stamp_ns - other) < self._near_ns for _, other in self._spent)

    def spend(self, stamp_ns: int, now_ns: int) -> None:
        """A command that answers this observation is executed."""
        self._spent.append((now_ns, stamp_ns))
