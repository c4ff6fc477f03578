"""Watches of the driver while the arm moves: whether it follows, and whether ticks are on time."""

from collections import deque

import numpy as np

# A setpoint is late when it leaves this many periods after its time.
_PERIODS = 2
# Number of setpoints among which the late ones are counted.
_OF = 20
# Number of setpoints in the figures.
_KEPT = 1000


class TrackingWatch:
    """
    :param limit: largest difference of any coordinate between measured and commanded position, rad or m.
    :param time_s: time for which it must be exceeded without interruption.
    """

    def __init__(self, limit: float, time_s: float) -> None:
        self._limit, self._time_s = limit, time_s
        self._since: float | None = None

    def reset(self) -> None:
        """Forget the past: the arm starts anew."""
        self._since = None

    def lost(self, measured: np.ndarray, commanded: np.ndarray, now: float) -> int | None:
        """
        :param measured, commanded: (n,) positions, rad or m.
        :param now: seconds of a steady clock.
        :returns: index of the coordinate that is farthest off, when the arm no longer follows.
        """
        error = np.abs(measured - commanded)
        if error.max() <= self._limit:
            self._since = None
            return None
        self._since = now if self._since is None else self._since
        return int(error.argmax()) if now - self._since > self._time_s else None


class LateTicks:
    """Counts setpoints that left late: the machine is then too busy for moving an arm.

    :param period_s: time between two setpoints.
    :param most: number of late ones among the last ``_OF`` that ends the motion; 0 for any number.
    """

    def __init__(self, period_s: float, most: int) -> None:
        self._period_s, self._most = period_s, most
        self._late: deque[bool] = deque(maxlen=_OF)
        # Lateness of the last ones in seconds, for people.
        self._lateness: deque[float] = deque(maxlen=_KEPT)
        self._last: float | None = None
        self.count = 0

    def reset(self) -> None:
        """Forget the past: the arm starts anew."""
        self._late.clear()
        self._last = None

    def left(self, now: float) -> str:
        """Record that a setpoint left.

        :param now: seconds of a steady clock.
        :returns: reason why the arm must stop; empty when it need not.
        """
        lateness_s = 0.0 if self._last is None else max(0.0, now - self._last - self._period_s)
        self._last = now
        late = lateness_s > _PERIODS * self._period_s
        self._late.append(late)
        self._lateness.append(lateness_s)
        self.count += late
        if not 0 < self._most <= sum(self._late):
            return ""
        # Reported once for the same late setpoints.
        self._late.clear()
        return (
            f"{self._most} of the last {_OF} setpoints left more than {_PERIODS} periods "
            f"({self._period_s * 1e3:.0f} ms each) late: the machine is too busy"
        )

    def quantiles_ms(self) -> tuple[float, float]:
        """The 99th percentile and the greatest lateness of the last setpoints, milliseconds."""
        if not self._lateness:
            return 0.0, 0.0
        return 1e3 * float(np.quantile(self._lateness, 0.99)), 1e3 * max(self._lateness)
