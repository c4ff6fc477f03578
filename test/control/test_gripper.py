"""The sticky gripper."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.control.gripper import StickyGripper

openings = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60)


def test_a_change_takes_effect_at_once_and_is_held_for_its_steps() -> None:
    gripper = StickyGripper(3)
    assert [gripper.step(v) for v in (1, 0, 1, 1, 1, 1)] == [1, 0, 0, 0, 1, 1]


def test_held_for_one_step_it_follows_the_policy() -> None:
    gripper = StickyGripper(1)
    assert [gripper.step(v) for v in (1, 0, 1, 0, 0.5, 0.51)] == [1, 0, 1, 0, 0, 1]


def test_the_first_opening_is_no_change() -> None:
    gripper = StickyGripper(10)
    assert [gripper.step(v) for v in (1, 0)] == [1, 0]


def test_a_reset_forgets_what_is_held() -> None:
    gripper = StickyGripper(10)
    gripper.step(1.0)
    gripper.step(0.0)
    gripper.reset()
    assert [gripper.step(v) for v in (1, 0)] == [1, 0]


@given(openings)
def test_without_steps_every_opening_passes_as_it_is(values: list[float]) -> None:
    gripper = StickyGripper(0)
    assert [gripper.step(value) for value in values] == values


@pytest.mark.parametrize("steps", [1, 2, 10])
@given(values=openings)
def test_the_opening_is_all_or_nothing_and_changes_at_most_once_in_its_steps(steps: int, values: list[float]) -> None:
    gripper = StickyGripper(steps)
    given_ = [gripper.step(value) for value in values]
    assert set(given_) <= {0.0, 1.0}
    changes = [i for i in range(1, len(given_)) if given_[i] != given_[i - 1]]
    assert all(later - earlier >= steps for earlier, later in itertools.pairwise(changes))
    # It changes only to what the policy wants then.
    assert all(given_[i] == (values[i] > 0.5) for i in changes)
