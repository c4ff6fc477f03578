"""The rules of the tasks that need a memory, without a simulator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.sim.memory_tasks import (
    CUBE_HALF_M,
    ReturnCourse,
    TapCourse,
)
from stvla_ros.sim.memoryless import RETURN_BOUND, RETURNED_M, START_BOX, TAP_BOUND

HOME = np.eye(4)
HOME[:3, 3] = [0.6, 0.0, 0.2]
AT_HOME, AWAY = HOME[:3, 3], HOME[:3, 3] + [0.0, 0.1, 0.0]
DISC, START = np.array([0.6, 0.2, 0.0]), np.array([0.6, -0.05, CUBE_HALF_M])
ON_DISC = DISC + [0.01, 0.0, CUBE_HALF_M]


def returning():
    return ReturnCourse(HOME, DISC, START)


def tapping():
    return TapCourse(HOME, [np.array([0.6, 0.1, CUBE_HALF_M]), np.array([0.6, -0.1, CUBE_HALF_M])])


def test_the_cube_is_returned_only_after_it_was_brought_and_the_arm_was_home():
    course = returning()
    assert not course.step(START, True, AT_HOME) and not course.solved, "it never left"
    assert not course.step(ON_DISC, True, AWAY) and not course.brought, "not at home yet"
    assert not course.step(ON_DISC, False, AT_HOME) and not course.brought, "still held"
    assert not course.step(ON_DISC + [0, 0, 0.05], True, AT_HOME) and not course.brought, "falling"
    assert course.step(ON_DISC, True, AT_HOME) and course.brought
    assert not course.solved
    assert not course.step(START, True, AWAY), "the world forgets once"
    assert course.solved


@given(angle=st.floats(0.0, 2 * np.pi), off=st.floats(0.0, 0.06))
def test_returned_is_within_two_and_a_half_centimetres_of_the_start(angle, off):
    course = returning()
    course.step(ON_DISC, True, AT_HOME)
    course.step(START + off * np.array([np.cos(angle), np.sin(angle), 0.0]), True, AWAY)
    if abs(off - RETURNED_M) > 1e-9:
        assert course.solved == (off < RETURNED_M)


@pytest.mark.parametrize("released, height", [(False, 0.0), (True, 0.02), (False, 0.02)])
def test_a_cube_that_is_held_or_in_the_air_is_not_returned(released, height):
    course = returning()
    course.step(ON_DISC, True, AT_HOME)
    course.step(START + [0.0, 0.0, height], released, AWAY)
    assert not course.solved


def play(*touches):
    """A course in which cubes are touched (0, 1) and home is passed (h), and how often the world forgot."""
    course, forgot = tapping(), 0
    for touch in touches:
        forgot += course.step([touch == 0, touch == 1], AT_HOME if touch == "h" else AWAY)
    return course, forgot


@pytest.mark.parametrize("touches", [(0, "h", 1), (1, "h", 0), (0, 0, "-", 0, "h", "h", 1, 1)])
def test_both_are_tapped_when_each_has_an_outing_of_its_own(touches):
    course, forgot = play(*touches)
    assert course.solved and forgot == 1


@pytest.mark.parametrize("touches", [(0, 1), (0, "h", 0, "h", 1), (0, "h", 1, 0), (0, "h", 1, "h", 0), (0, "h", 0, 1)])
def test_a_cube_touched_in_a_second_outing_or_both_in_one_is_lost(touches):
    assert not play(*touches)[0].solved


def test_touching_both_at_once_is_lost():
    course = tapping()
    course.step([True, True], AWAY)
    course.step([False, False], AT_HOME)
    assert course.lost and not course.solved


@pytest.mark.parametrize("touches", [(), ("h",), (0,), (0, "h")])
def test_one_alone_is_not_both(touches):
    assert not play(*touches)[0].solved


def test_home_is_not_passed_while_a_cube_is_touched():
    course = tapping()
    assert not course.step([True, False], AT_HOME)
    assert course.step([False, False], AT_HOME)


def test_no_place_in_the_box_returns_more_than_the_bound():
    """Counted: how many starts lie near the best of many places, on a lattice of 1 mm."""
    x, y = (np.arange(0.0005, side, 0.001) for side in START_BOX)
    starts = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    places = starts[:: len(starts) // 300]
    share = max((np.linalg.norm(starts - place, axis=1) <= RETURNED_M).mean() for place in places)
    assert share == pytest.approx(RETURN_BOUND, rel=0.02) and RETURN_BOUND < 0.041


@given(st.floats(0.0, 1.0))
def test_who_taps_left_first_as_often_each_time_has_both_at_most_half_of_the_time(left_first):
    assert 2 * left_first * (1 - left_first) <= TAP_BOUND
