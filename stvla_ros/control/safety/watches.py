"""What the driver watches while the arm moves: that it follows, and that the clock does not jump."""

import numpy as np

# A clock may run differently from the machine's by this much between two looks, seconds, before it counts as a jump.
CLOCK_JUMP_S = 0.5


class TrackingWatch:
    """
    :param limit: of any coordinate, measured against commanded, rad or m.
    :param time_s: for which it must be broken without a break.
    """

    def __init__(self, limit: float, time_s: float) -> None:
        self._limit, self._time_s = limit, time_s
        self._since: float | None = None

    def reset(self) -> None:
        """Forget what was: the arm starts anew."""
        self._since = None

    def lost(self, measured: np.ndarray, commanded: np.ndarray, now: float) -> int | None:
        """
        :param measured, commanded: (n,) rad or m.
        :param now: seconds of a steady clock.
        :returns: the number of the coordinate that is farthest off, when the arm does not follow any more.
        """
        error = np.abs(measured - commanded)
        if error.max() <= self._limit:
            self._since = None
            return None
        self._since = now if self._since is None else self._since
        return int(error.argmax()) if now - self._since > self._time_s else None


class ClockWatch:
    """A clock that jumps makes old observations look fresh, and fresh ones old."""

    def __init__(self) -> None:
        self._offset_ns: int | None = None

    def jumped(self, clock_ns: int, steady_ns: int) -> bool:
        """
        :param clock_ns: the clock that is watched.
        :param steady_ns: one that only runs forwards.
        """
        offset, before = clock_ns - steady_ns, self._offset_ns
        self._offset_ns = offset
        return before is not None and abs(offset - before) > CLOCK_JUMP_S * 1e9
