"""The opening that the gripper is told, tick by tick: no faster than its rate, and nothing before anybody asked."""

import numpy as np


class GripperRamp:
    """:param change: of the opening, most in one tick."""

    def __init__(self, change: float) -> None:
        self._change = change
        self.releasing = False
        """Whether it was told to open, and no command has moved it since."""
        self.start(None)

    def start(self, opening: float | None) -> None:
        """
        :param opening: that it has, 0 closed to 1 open; None where nobody knows. Then it has at once the first one that
            is wanted: on the way from a supposed one, it would open with what it holds.
        """
        self._now = None if opening is None else float(np.clip(opening, 0.0, 1.0))
        self._goal = self._now
        self.leave()

    def go(self, opening: float) -> None:
        """A command wants this opening."""
        self._goal, self._asked, self.releasing = opening, True, False

    def release(self) -> None:
        """Open, whatever holds the arm: a hand may be in it. Neither a stop nor a hold ends this."""
        self._goal, self._asked, self.releasing = 1.0, True, True

    def leave(self) -> None:
        """Until the next command it stays as it is."""
        self._asked = self.releasing = False

    def hold(self) -> None:
        """Go no farther, and keep what it holds."""
        if not self.releasing:
            self._goal = self._now

    def tick(self) -> float | None:
        """:returns: the opening that it is told; None for nothing."""
        if self._goal is not None:
            now = self._goal if self._now is None else self._now
            self._now = now + float(np.clip(self._goal - now, -self._change, self._change))
        return self._now if self._asked else None
