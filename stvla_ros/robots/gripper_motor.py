"""A gripper whose motor pushes (opens, closes) or rests, and the rule for sending it commands."""

from stvla_ros.robots.xs_settings import gripper_effort


class GripperMotor:
    """
    :param effort: effort with which it opens and closes, in the unit of the motor's mode.
    :param repeat_ticks: number of ticks after which a command is repeated; each command is a packet on the servos' bus.
    """

    def __init__(self, effort: float, repeat_ticks: int) -> None:
        self._effort, self._repeat_ticks = effort, repeat_ticks
        self.begin()

    def begin(self) -> None:
        """Forget the previous command."""
        self._said: float | None = None
        self._wanted: float | None = None
        self._ticks = 0

    def step(self, wanted: float, measured: float) -> float | None:
        """
        :param wanted, measured: openings, 0 closed to 1 open.
        :returns: the command for the motor; None for no command.
        """
        effort = gripper_effort(wanted, measured, self._effort)
        # On its way to another opening the gripper passes the measured one. Resting there would drop what the fingers
        # hold. So would a first command of rest to a motor that may be holding something, when the closing is stopped
        # where it began.
        if effort == 0.0 and (wanted != self._wanted or (self._said is None and wanted < measured)):
            effort = self._said
        self._wanted = wanted
        self._ticks += 1
        if effort is None or (effort == self._said and self._ticks % self._repeat_ticks):
            return None
        self._said = effort
        return effort
