"""The ledger of what became of each command: how far the target pose was really moved since an observation. Pure."""

from collections import deque

from stvla_ros.control.displacement import Displacement

# Commands from so long ago are behind every observation that is still acted on (1.5 s at up to 100 Hz).
_KEPT = 256


class ExecutedCommands:
    """A command counts as executed as it was sent, from the moment at which it left, until somebody tells otherwise: a
    driver's verdict, or a simulator that took another one in its place. Times are ns of any one clock, the same that
    stamps observations. Not thread-safe.
    """

    def __init__(self) -> None:
        self._entries: deque[tuple[int, int, Displacement]] = deque(maxlen=_KEPT)  # number, when, how far
        self._sent = 0

    def sent(self, moved: Displacement, now: int) -> int:
        """A command leaves. :returns: its number."""
        self._sent += 1
        self._entries.append((self._sent, now, moved))
        return self._sent

    def correct(self, number: int, moved: Displacement, at: int | None = None) -> None:
        """What became of a command. Of one that is forgotten nothing is kept.

        :param moved: by how far it moved the target; ``Displacement.none()`` when it was not executed.
        :param at: when; None: when it left.
        """
        for index, (known, left, _) in enumerate(self._entries):
            if known == number:
                self._entries[index] = number, left if at is None else at, moved
                return

    def since(self, stamp: int) -> Displacement:
        """How far the target was moved at or after this time: what an observation with this stamp does not show."""
        whole = Displacement.none()
        for _, at, moved in self._entries:
            if at >= stamp:
                whole = whole.then(moved)
        return whole
