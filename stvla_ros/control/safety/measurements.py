"""The robot's reported position: the last measurement that counts, and whether it is still fresh."""

from dataclasses import dataclass

import numpy as np

from stvla_ros.errors import InputError


@dataclass(frozen=True, eq=False)
class Measured:
    """:param position: (n,) rad or m.
    :param opening: gripper opening, 0..1.
    :param at: time of the measurement, seconds of a steady clock.
    """

    position: np.ndarray
    opening: float
    at: float


class Overtaken(InputError):
    """The measurement does not count, but tells where the arm was a moment before.

    :param by_s: age difference to the newer measurement that overtook it, seconds.
    """

    def __init__(self, by_s: float) -> None:
        super().__init__(f"overtaken by one that is {by_s:.3g} s newer")
        self.by_s = by_s


class Measurements:
    """Accepts no measurement that is late, that a newer one overtook, or that contains a NaN (a servo that could not be
    read).

    :param timeout_s: greatest age of a measurement that counts.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._newest_ns = 0
        self.last: Measured | None = None

    def take(self, position: np.ndarray, opening: float, stamp_ns: int, clock_ns: int, now: float) -> None:
        """
        :param position: (n,) rad or m.
        :param stamp_ns: time of the measurement, nanoseconds; 0 for none, which counts as now.
        :param clock_ns: present time in the stamps' clock. Stamps ahead of it count as now: two machines' clocks
            differ.
        :param now: seconds of a steady clock.
        :raises Overtaken: when a newer one came before it; nothing is changed then, nor by any other error.
        :raises InputError: when it does not count.
        """
        if not (np.isfinite(position).all() and np.isfinite(opening)):
            raise InputError(f"expected finite positions, got {np.round(position, 3)}, {opening}")
        age_s = self._age_s(stamp_ns, clock_ns) if stamp_ns else 0.0
        self._newest_ns = stamp_ns or self._newest_ns
        self.last = Measured(position, opening, now - age_s)

    def fresh(self, now: float) -> bool:
        """Whether the robot reported its position a moment ago."""
        return self.last is not None and now - self.last.at < self._timeout_s

    def _age_s(self, stamp_ns: int, clock_ns: int) -> float:
        age_s, overtaken_s = (clock_ns - stamp_ns) * 1e-9, (self._newest_ns - stamp_ns) * 1e-9
        if age_s > self._timeout_s:
            raise InputError(
                f"expected stamps at most {self._timeout_s:g} s old, got {age_s:.3g} s (if always: set the clocks of "
                "both machines)"
            )
        # If it is farther back, it was not overtaken: the clock was set back.
        if 0.0 < overtaken_s <= self._timeout_s:
            raise Overtaken(overtaken_s)
        return max(0.0, age_s)
