"""How far setpoints may give way to an arm that does not follow: back along their own way, and no farther."""

import numpy as np


class SetpointTrail:
    """The range of each coordinate that setpoints covered since the arm last agreed with them.

    An arm that is blocked is somewhere in it, because nothing else moved it. A measurement outside it is not what our
    setpoints caused: a sensor that errs, or somebody who carries the arm. Nothing may be led after that.

    :param tolerance: of any coordinate, rad or m: nearer to its setpoint the arm agrees with it.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._low = self._high = np.zeros(0)
        self._outside = False

    def begin(self, position: np.ndarray) -> None:
        """:param position: (n,) where the arm is taken up."""
        self._low = self._high = np.array(position, dtype=np.float64)
        self._outside = False

    def follow(self, setpoint: np.ndarray, measured: np.ndarray, outside: bool) -> None:
        """
        :param setpoint, measured: (n,) of the same moment.
        :param outside: whether the setpoint's tool is outside the workspace, as on the way home or to rest.
        """
        agrees = np.abs(setpoint - measured) <= self._tolerance
        low, high = np.minimum(self._low, setpoint), np.maximum(self._high, setpoint)
        behind = np.clip(measured, low, high)
        self._low = np.where(agrees, np.minimum(setpoint, behind), low)
        self._high = np.where(agrees, np.maximum(setpoint, behind), high)
        self._outside = outside or (self._outside and not agrees.all())

    @property
    def led_outside(self) -> bool:
        """Whether some of them were outside the workspace."""
        return self._outside

    def way_back(self, measured: np.ndarray) -> np.ndarray | None:
        """(n,) where the setpoints may go, so that they press no more on an arm that is at ``measured``; None when it
        is where they never were.
        """
        nearest = np.clip(measured, self._low, self._high)
        return nearest if (np.abs(measured - nearest) <= self._tolerance).all() else None
