"""Limits how far setpoints may give way to an arm that does not follow: back along their own path, and no farther."""

import numpy as np


class SetpointTrail:
    """The range of each coordinate that setpoints covered since the arm last agreed with them.

    A blocked arm is somewhere in this range, because nothing else moved it. A measurement outside it was not caused by
    our setpoints: the sensor is wrong, or somebody carries the arm. Setpoints must not follow such a measurement.

    :param tolerance: largest difference of any coordinate from its setpoint at which the arm agrees with it, rad or m.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._low = self._high = np.zeros(0)
        self._outside = False

    def begin(self, position: np.ndarray) -> None:
        """:param position: (n,) position at which the arm is taken up."""
        self._low = self._high = np.array(position, dtype=np.float64)
        self._outside = False

    def follow(self, setpoint: np.ndarray, measured: np.ndarray, outside: bool) -> None:
        """
        :param setpoint, measured: (n,) positions at the same moment.
        :param outside: whether the setpoint's tool is outside the workspace, as on the way to home or rest.
        """
        agrees = np.abs(setpoint - measured) <= self._tolerance
        low, high = np.minimum(self._low, setpoint), np.maximum(self._high, setpoint)
        behind = np.clip(measured, low, high)
        self._low = np.where(agrees, np.minimum(setpoint, behind), low)
        self._high = np.where(agrees, np.maximum(setpoint, behind), high)
        self._outside = outside or (self._outside and not agrees.all())

    @property
    def led_outside(self) -> bool:
        """Whether some of the setpoints were outside the workspace."""
        return self._outside

    def way_back(self, measured: np.ndarray) -> np.ndarray | None:
        """(n,) position that the setpoints may go to so that they no longer press on an arm at ``measured``; None when
        the arm is where they never were.
        """
        nearest = np.clip(measured, self._low, self._high)
        return nearest if (np.abs(measured - nearest) <= self._tolerance).all() else None
