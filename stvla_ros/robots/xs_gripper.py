"""The gripper of Interbotix' arms: a motor under constant effort, and two fingers whose distance is measured."""

# Of the opening: nearer than this, the fingers count as there.
_THERE = 0.08
# A goal below this means "hold on to whatever is between the fingers".
_CLOSED = 0.05


def gripper_effort(goal: float, opening: float, effort: float) -> float:
    """What the motor is to do: ``effort`` to open, its negative to close, 0 to stay.

    :param goal, opening: wanted and measured, 0 closed to 1 open.
    :param effort: in the unit of the motor's mode (PWM or mA).
    """
    if goal <= _CLOSED:
        return -effort
    if opening < goal - _THERE:
        return effort
    # An object keeps the fingers apart: it is held as long as the goal is below the measured opening.
    if opening > goal + _THERE:
        return -effort
    return 0.0
