"""Efforts that tell of a contact."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.control.safety.contact import ContactWatch

NAMES, LIMITS = ("waist", "shoulder", "elbow"), (1000.0, 1300.0, None)
FREE = np.array([100.0, -900.0, 5000.0])


def make(limits=LIMITS) -> ContactWatch:
    return ContactWatch(NAMES, limits, 0.25)


def with_waist(effort: float) -> np.ndarray:
    return np.array([effort, *FREE[1:]])


@pytest.mark.parametrize("effort", [1001.0, -1500.0])
def test_two_in_a_row_over_the_limit_are_a_contact_whatever_the_sign(effort: float) -> None:
    watch = make()
    doubts = [watch.take(with_waist(effort), True, now) for now in (0.0, 0.01)]
    assert doubts == ["", f"waist needs an effort of {abs(effort):.4g}, 1000 allowed"]


def test_a_spike_of_one_measurement_is_none() -> None:
    watch = make()
    efforts = [FREE, with_waist(2000.0), FREE, with_waist(-2000.0), FREE]
    assert [watch.take(effort, True, 0.01 * number) for number, effort in enumerate(efforts)] == [""] * 5


def test_an_unread_effort_neither_counts_nor_ends_a_row() -> None:
    watch = make()
    efforts = [with_waist(2000.0), with_waist(np.nan), with_waist(2000.0)]
    assert [bool(watch.take(effort, True, 0.01 * number)) for number, effort in enumerate(efforts)] == [0, 0, 1]


def test_efforts_of_an_arm_that_is_not_asked_to_move_tell_nothing() -> None:
    watch = make()
    assert [watch.take(with_waist(2000.0), False, 0.01 * number) for number in range(5)] == [""] * 5
    assert watch.take(with_waist(2000.0), True, 0.06) == ""
    assert "waist" in watch.take(with_waist(2000.0), True, 0.07)


def test_efforts_that_are_not_measured_any_more_are_a_doubt() -> None:
    watch = make()
    watch.take(FREE, True, 0.0)
    assert watch.take(np.full(3, np.nan), True, 0.2) == ""
    assert "no effort of waist for 0.3 s" in watch.take(np.full(3, np.nan), True, 0.3)


def test_the_joint_that_is_farthest_over_its_limit_is_named() -> None:
    watch = make()
    both = np.array([1100.0, 2600.0, np.nan])
    assert [watch.take(both, True, 0.0), watch.take(both, True, 0.01)][1].startswith("shoulder")


@examples(quick=100)
@given(st.lists(st.tuples(st.floats(-1000.0, 1000.0) | st.just(np.nan), st.booleans()), max_size=40))
def test_efforts_within_their_limits_are_never_a_contact(efforts: list) -> None:
    watch = make()
    for number, (effort, moving) in enumerate(efforts):
        assert watch.take(with_waist(effort), moving, 0.001 * number) == ""


@examples(quick=100)
@given(st.lists(st.floats(-3000.0, 3000.0) | st.just(np.nan), max_size=40), st.floats(1000.1, 1e6))
def test_a_contact_that_lasts_is_seen_with_its_second_measurement(before: list[float], effort: float) -> None:
    watch = make()
    for number, each in enumerate(before):
        watch.take(with_waist(each), True, 0.001 * number)
    watch.take(with_waist(effort), True, 0.001 * len(before))
    assert "waist needs an effort" in watch.take(with_waist(effort), True, 0.001 * len(before) + 0.001)


@pytest.mark.parametrize(
    ("limits", "effort", "said"),
    [
        ((None, None, None), FREE, "the robot's file has no joints.*.effort: contact is not watched"),
        (LIMITS, np.full(3, np.nan), "the arm gives no efforts: contact is not watched"),
        (LIMITS, [1.0, np.nan, 1.0], "no effort, or no limit of it, of shoulder, elbow: contact there is not watched"),
        (LIMITS[:2] + (9.0,), np.zeros(3), "efforts were all 0 so far"),
        (LIMITS[:2] + (9.0,), FREE, ""),
    ],
)
def test_what_is_not_watched_is_said(limits: tuple, effort, said: str) -> None:
    watch = make(limits)
    watch.take(np.array(effort), False, 0.0)
    assert said in watch.unwatched() and bool(said) == bool(watch.unwatched())
