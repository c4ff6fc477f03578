"""An arm that does not follow, and a clock that jumps."""

import numpy as np

from stvla_ros.control.safety.watches import ClockWatch, TrackingWatch

ZERO, OFF = np.zeros(3), np.array([0.0, 0.3, 0.1])
SECOND = 1_000_000_000


def test_an_arm_that_is_off_for_long_enough_is_lost_and_its_worst_joint_named() -> None:
    watch = TrackingWatch(0.2, 0.5)
    assert [watch.lost(OFF, ZERO, now) for now in (1.0, 1.4, 1.6)] == [None, None, 1]


def test_a_lag_that_passes_is_none() -> None:
    watch = TrackingWatch(0.2, 0.5)
    assert [watch.lost(at, ZERO, now) for at, now in ((OFF, 1.0), (ZERO, 1.4), (OFF, 1.6), (OFF, 2.0))] == [None] * 4


def test_after_a_reset_it_counts_anew() -> None:
    watch = TrackingWatch(0.2, 0.5)
    watch.lost(OFF, ZERO, 1.0)
    watch.reset()
    assert watch.lost(OFF, ZERO, 1.6) is None


def test_a_clock_that_runs_as_the_machines_or_somewhat_slower_does_not_jump() -> None:
    watch = ClockWatch()
    assert not any(watch.jumped(round(0.7 * now), now) for now in range(0, 10 * SECOND, SECOND // 50))


def test_a_jump_either_way_is_one_and_once() -> None:
    watch = ClockWatch()
    clocks = [0, 60, 60, 1, 1]
    assert [watch.jumped(clock * SECOND, 0) for clock in clocks] == [False, True, False, True, False]


def test_clocks_that_run_on_together_between_two_rare_looks_do_not_jump() -> None:
    watch = ClockWatch()
    assert not any(watch.jumped(now, now) for now in range(0, 10 * SECOND, SECOND))


def test_a_clock_that_stands_still_while_the_machine_goes_on_jumps() -> None:
    watch = ClockWatch()
    assert [watch.jumped(0, steady) for steady in (0, SECOND // 3, 2 * SECOND)] == [False, False, True]
