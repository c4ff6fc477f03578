"""An arm that does not follow, and setpoints that leave late."""

import numpy as np
import pytest

from stvla_ros.control.safety.watches import LateTicks, TrackingWatch

ZERO, OFF = np.zeros(3), np.array([0.0, 0.3, 0.1])


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


PERIOD_S = 0.02


def run(watch: LateTicks, gaps: list[float]) -> list[int]:
    """:returns: after which gaps, in periods, it says that the arm must stop."""
    now, said = 5.0, []
    watch.left(now)
    for number, gap in enumerate(gaps):
        now += gap * PERIOD_S
        if problem := watch.left(now):
            assert problem.startswith("3 of the last 20 setpoints left more than 2 periods (20 ms each) late")
            said.append(number)
    return said


def test_three_late_setpoints_of_twenty_are_too_many() -> None:
    late = [3.5] + [1.0] * 8
    assert run(LateTicks(PERIOD_S, 3), late * 3) == [18]


def test_three_late_setpoints_far_apart_or_a_little_late_are_not() -> None:
    assert run(LateTicks(PERIOD_S, 3), ([3.5] + [1.0] * 12) * 5) == []
    assert run(LateTicks(PERIOD_S, 3), [2.9] * 50) == []


def test_it_is_said_once_of_the_same_setpoints_and_again_of_others() -> None:
    assert run(LateTicks(PERIOD_S, 3), [4.0] * 6) == [2, 5]


def test_where_any_number_is_allowed_they_are_counted_alone() -> None:
    watch = LateTicks(PERIOD_S, 0)
    assert run(watch, [4.0] * 50) == [] and watch.count == 50
    assert watch.quantiles_ms() == pytest.approx((60.0, 60.0))


def test_a_pause_before_a_new_start_is_not_lateness() -> None:
    watch = LateTicks(PERIOD_S, 1)
    watch.left(1.0)
    watch.reset()
    assert watch.left(100.0) == "" and watch.count == 0
