"""A gripper whose motor pushes: opens, closes, or rests. When it is told what."""

from stvla_ros.robots.xs_settings import gripper_effort


class GripperMotor:
    """
    :param effort: with which it opens and closes, in the unit of the motor's mode.
    :param repeat_ticks: after so many ticks it is told again: each is a packet on the servos' bus.
    """

    def __init__(self, effort: float, repeat_ticks: int) -> None:
        self._effort, self._repeat_ticks = effort, repeat_ticks
        self.begin()

    def begin(self) -> None:
        """What it was told before is not known any more."""
        self._said: float | None = None
        self._wanted: float | None = None
        self._ticks = 0

    def step(self, wanted: float, measured: float) -> float | None:
        """
        :param wanted, measured: openings, 0 closed to 1 open.
        :returns: what the motor is to be told; None for nothing.
        """
        effort = gripper_effort(wanted, measured, self._effort)
        # On its way to another opening it passes the measured one. To rest there would drop what the fingers hold; so
        # would the first word to a motor that may hold it, when the closing is stopped where it began.
        if effort == 0.0 and (wanted != self._wanted or (self._said is None and wanted < measured)):
            effort = self._said
        self._wanted = wanted
        self._ticks += 1
        if effort is None or (effort == self._said and self._ticks % self._repeat_ticks):
            return None
        self._said = effort
        return effort
