"""The opening of a gripper: its measurement, and the handling of a policy's wishes."""

import numpy as np

OPEN_ABOVE = 0.5


def opening_of(finger: float, closed: float, opened: float) -> float:
    """The opening, 0 closed to 1 open, for a finger's position; NaN if that is not finite.

    :param finger, closed, opened: positions of the finger: measured, closed and open, metres or radians.
    """
    share = (finger - closed) / (opened - closed)
    return float(np.clip(share, 0.0, 1.0)) if np.isfinite(share) else float("nan")


class StickyGripper:
    """Opens or closes at once, and then holds for some control steps, whatever the policy wants.

    Without it, a policy that is undecided at a grasp would let go at the next step. The threshold and the steps are the
    published evaluation settings (DelinQu/SimplerEnv-OpenVLA: open above 0.5; held for 1 step on WidowX, 10 on the
    Google robot, counted from the change).

    :param steps: control steps for which a change is held, at least 1, which is the step of the change itself. 0 passes
        every opening through unchanged.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self.reset()

    def reset(self) -> None:
        """A new instruction starts: the next opening is taken as it is."""
        self._held: float | None = None
        self._steps_left = 0

    def step(self, opening: float) -> float:
        """
        :param opening: wanted opening in this control step, 0 closed to 1 open.
        :returns: 0.0 or 1.0; ``opening`` itself when nothing is held (``steps`` 0).
        """
        if not self._steps:
            return opening
        wanted = 1.0 if opening > OPEN_ABOVE else 0.0
        if self._steps_left:
            self._steps_left -= 1
        elif wanted != self._held:
            # Before the first step the gripper's state is unknown, so there is no change to hold.
            self._steps_left = 0 if self._held is None else self._steps - 1
            self._held = wanted
        return self._held
