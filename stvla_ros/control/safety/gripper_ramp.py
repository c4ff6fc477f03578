"""The gripper's commanded opening, tick by tick: no faster than its rate, and nothing before a command."""

import numpy as np


class GripperRamp:
    """:param change: largest change of the opening in one tick."""

    def __init__(self, change: float) -> None:
        self._change = change
        self.releasing = False
        """Whether the gripper was told to open, and no command has moved it since."""
        self.start(None)

    def start(self, opening: float | None) -> None:
        """
        :param opening: present opening, 0 closed to 1 open; None if it is not known. The first wanted opening is then
            commanded at once: a ramp from a supposed opening could open the gripper and drop what it holds.
        """
        self._now = None if opening is None else float(np.clip(opening, 0.0, 1.0))
        self._goal = self._now
        self.leave()

    def go(self, opening: float) -> None:
        """Move to the opening that a command wants."""
        self._goal, self._asked, self.releasing = opening, True, False

    def release(self) -> None:
        """Open the gripper, even while the arm is held: a hand may be in it. Neither a stop nor a hold ends this."""
        self._goal, self._asked, self.releasing = 1.0, True, True

    def leave(self) -> None:
        """Leave the gripper as it is until the next command."""
        self._asked = self.releasing = False

    def hold(self) -> None:
        """Stop the gripper, so that it keeps what it holds."""
        if not self.releasing:
            self._goal = self._now

    def tick(self) -> float | None:
        """:returns: commanded opening; None for no command."""
        if self._goal is not None:
            now = self._goal if self._now is None else self._now
            self._now = now + float(np.clip(self._goal - now, -self._change, self._change))
        return self._now if self._asked else None
