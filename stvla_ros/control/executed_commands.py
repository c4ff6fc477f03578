"""The ledger of executed commands: the real motion of the target pose since an observation. Pure."""

from collections import deque

from stvla_ros.control.displacement import Displacement

# Older commands were sent before every observation that is still acted on (1.5 s at up to 100 Hz).
_KEPT = 256


class ExecutedCommands:
    """A command counts as executed as sent, from the time at which it left, until a report says otherwise: a driver's
    verdict, or a simulator that executed another command in its place. Times are ns of the clock that stamps
    observations. Not thread-safe.
    """

    def __init__(self) -> None:
        self._entries: deque[tuple[int, int, Displacement]] = deque(maxlen=_KEPT)  # number, time, motion
        self._sent = 0

    def sent(self, moved: Displacement, now: int) -> int:
        """Record that a command leaves. :returns: its number."""
        self._sent += 1
        self._entries.append((self._sent, now, moved))
        return self._sent

    def correct(self, number: int, moved: Displacement, at: int | None = None) -> None:
        """Record the report on a command. Reports on forgotten commands are ignored.

        :param moved: motion of the target; ``Displacement.none()`` when the command was not executed.
        :param at: time of the motion; None: the time at which the command left.
        """
        for index, (known, left, _) in enumerate(self._entries):
            if known == number:
                self._entries[index] = number, left if at is None else at, moved
                return

    def since(self, stamp: int) -> Displacement:
        """The motion of the target at or after this time: an observation with this stamp does not show it."""
        whole = Displacement.none()
        for _, at, moved in self._entries:
            if at >= stamp:
                whole = whole.then(moved)
        return whole
