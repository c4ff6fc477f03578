"""Setpoints give way by what they caused, and no farther."""

import numpy as np
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.control.safety.giving_way import SetpointTrail

HERE, TOLERANCE = np.zeros(2), 0.05
points = st.tuples(*[st.floats(-2.0, 2.0)] * 2).map(np.array)


def begun() -> SetpointTrail:
    trail = SetpointTrail(TOLERANCE)
    trail.begin(HERE)
    return trail


def test_without_any_setpoint_there_is_nothing_to_give_way_by() -> None:
    trail = begun()
    for _ in range(50):
        trail.follow(HERE, np.array([1.5, 0.0]), False)
    assert trail.way_back(np.array([1.5, 0.0])) is None


def test_setpoints_that_ran_ahead_of_a_blocked_arm_go_back_to_it() -> None:
    trail, blocked = begun(), np.array([0.1, 0.0])
    for waist in np.linspace(0.0, 0.5, 26):
        trail.follow(np.array([waist, 0.0]), np.minimum(blocked, waist), False)
    assert np.allclose(trail.way_back(blocked), blocked)
    # A little off, the end of their own way is far enough.
    assert np.allclose(trail.way_back(np.array([0.06, 0.01])), blocked)
    assert trail.way_back(np.array([0.0, 0.0])) is None
    assert trail.way_back(np.array([0.7, 0.0])) is None


def test_where_the_arm_agreed_its_former_way_is_forgotten() -> None:
    trail = begun()
    for waist in np.linspace(0.0, 0.5, 26):
        trail.follow(np.array([waist, 0.0]), np.array([waist, 0.0]), False)
    assert trail.way_back(HERE) is None


def test_a_way_outside_the_workspace_is_remembered_until_the_arm_agrees() -> None:
    trail = begun()
    trail.follow(np.array([0.3, 0.0]), HERE, True)
    trail.follow(np.array([0.4, 0.0]), HERE, False)
    assert trail.led_outside
    trail.follow(np.array([0.4, 0.0]), np.array([0.4, 0.0]), False)
    assert not trail.led_outside


@examples(quick=100)
@given(st.lists(st.tuples(points, points), max_size=30), points)
def test_what_is_given_way_to_lies_within_what_the_setpoints_covered(steps: list, measured: np.ndarray) -> None:
    trail, covered = begun(), [HERE]
    for setpoint, at in steps:
        trail.follow(setpoint, at, False)
        covered.append(setpoint)
    back = trail.way_back(measured)
    if back is not None:
        assert (np.min(covered, axis=0) <= back).all() and (back <= np.max(covered, axis=0)).all()
        assert (np.abs(back - measured) <= TOLERANCE).all()
