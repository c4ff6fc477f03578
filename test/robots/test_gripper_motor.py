"""What a gripper's motor is told: to open, to close, or to rest; never to rest while it holds something."""

import pytest

from stvla_ros.robots.gripper_motor import GripperMotor


def told(motor: GripperMotor, wanted: list[float], measured: float) -> list[float | None]:
    return [motor.step(each, measured) for each in wanted]


RAMP = [0.42, 0.34, 0.26, 0.18, 0.1, 0.02, 0.0]


def test_what_it_holds_is_held_on_when_it_is_taken_up_and_closed_anew() -> None:
    motor = GripperMotor(250.0, 25)
    told(motor, [0.0] * 3, 0.5)
    motor.begin()
    assert told(motor, RAMP, 0.5) == [None, -250.0, None, None, None, None, None]


@pytest.mark.parametrize("ticks", range(1, len(RAMP)))
def test_what_it_holds_is_held_on_when_the_closing_anew_is_stopped_at_once(ticks: int) -> None:
    motor = GripperMotor(250.0, 25)
    stopped = RAMP[:ticks] + 30 * RAMP[ticks - 1 : ticks]
    assert set(told(motor, stopped, 0.5)) == ({None} if ticks == 1 else {None, -250.0})


def test_what_it_was_told_before_does_not_push_on_an_open_gripper() -> None:
    motor = GripperMotor(250.0, 25)
    assert told(motor, [1.0, 1.0, 1.0], 1.0) == [None, 0.0, None]


def test_where_it_is_to_stay_it_rests() -> None:
    motor = GripperMotor(250.0, 25)
    assert told(motor, [0.6, 0.6, 0.6], 0.2) == [250.0, None, None]
    assert told(motor, [0.6, 0.6], 0.59) == [0.0, None]


def test_it_is_told_again_now_and_then() -> None:
    motor = GripperMotor(250.0, 25)
    assert [tick for tick, each in enumerate(told(motor, [0.0] * 60, 0.5)) if each is not None] == [0, 24, 49]
