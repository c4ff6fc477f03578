"""Where answers come late, the gripper changes only where an observation was answered with the change."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from chunk_play import MS, T, action
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.anchored_execution import AnchoredExecutor
from stvla_ros.control.chunk_execution import Due, TimedChunk
from stvla_ros.control.latency_prediction import LatencyPrediction

OPEN, CLOSED = 1.0, 0.0
LATE = 2 * T


def waiting(averages: bool = False) -> AnchoredExecutor:
    return AnchoredExecutor(T, latency=LatencyPrediction(), averages=averages)


def go(by: float, gripper: float = OPEN) -> EndEffectorAction:
    return action(by, gripper)


def told(executor: AnchoredExecutor, now: int) -> tuple[Any, float]:
    """The next command's motion in metres and opening."""
    at = executor.next_at(now)
    assert at is not None
    due = executor.take(at)
    assert due is not None
    return pytest.approx(float(due.action.translation[0]), abs=1e-9), due.action.gripper


def begun(executor: AnchoredExecutor) -> None:
    """A first command with an open gripper, answered at once."""
    executor.add(TimedChunk(0, (go(0.0),)), 0)
    assert told(executor, 0) == (0.0, OPEN)


GRASP = (go(0.01), go(0.01), go(0.0, CLOSED), go(0.05, CLOSED), go(0.05, CLOSED))


def test_a_change_that_an_answer_expects_further_on_is_waited_for_before_it() -> None:
    executor = waiting()
    begun(executor)
    executor.add(TimedChunk(T, GRASP), T)
    assert [told(executor, step * T) for step in range(1, 5)] == [(0.01, OPEN), (0.01, OPEN), (0.0, OPEN), (0.0, OPEN)]


def test_a_late_answer_with_a_change_that_is_over_leads_to_the_place_before_it() -> None:
    executor = waiting()
    begun(executor)
    executor.add(TimedChunk(T, GRASP), 4 * T)
    assert told(executor, 4 * T) == (0.02, OPEN)


def test_an_answer_to_an_observation_of_that_place_is_executed_from_its_first_action() -> None:
    executor = waiting()
    begun(executor)
    executor.add(TimedChunk(T, GRASP[:3]), T)
    for step in (1, 2, 3):
        told(executor, step * T)
    executor.add(TimedChunk(3 * T, GRASP[2:]), 3 * T + LATE)
    assert [told(executor, step * T) for step in (5, 6, 7)] == [(0.0, CLOSED), (0.05, CLOSED), (0.05, CLOSED)]


def test_an_answer_to_an_observation_of_another_place_leads_back_there_first() -> None:
    executor = waiting()
    begun(executor)
    executor.add(TimedChunk(T, (go(0.02), go(0.02), go(0.02))), T)
    for step in (1, 2):
        told(executor, step * T)
    executor.add(TimedChunk(T + 1, (go(0.0, CLOSED), *GRASP[3:])), 3 * T)
    assert told(executor, 3 * T) == (-0.04, OPEN)
    assert told(executor, 4 * T) == (0.0, CLOSED)


def test_answers_to_observations_from_before_a_change_are_dropped() -> None:
    executor = waiting()
    begun(executor)
    executor.add(TimedChunk(T, (go(0.0, CLOSED),) * 4), T)
    assert told(executor, T) == (0.0, CLOSED)
    assert not executor.add(TimedChunk(T + 1, (go(0.0, OPEN),) * 4), 2 * T)
    assert told(executor, 2 * T) == (0.0, CLOSED)


def test_an_earlier_answer_that_begins_with_the_same_change_at_the_same_place_takes_its_place() -> None:
    executor = AnchoredExecutor(T, max_age=5 * T, latency=LatencyPrediction())
    begun(executor)
    executor.add(TimedChunk(T, (go(0.0, CLOSED), *(go(0.01, CLOSED),) * 7)), 4 * T)
    assert told(executor, 4 * T) == (0.0, CLOSED)
    assert executor.add(TimedChunk(3 * T, (go(0.0, CLOSED), *(go(0.02, CLOSED),) * 7)), 5 * T)
    assert told(executor, 5 * T) == (0.02, CLOSED)
    assert told(executor, 6 * T) == (0.02, CLOSED), "the first answer would be stale by now"
    assert told(executor, 7 * T) == (0.02, CLOSED)


def test_an_earlier_answer_that_begins_with_the_change_elsewhere_is_dropped() -> None:
    executor = waiting()
    begun(executor)
    executor.add(TimedChunk(T, (go(0.02), go(0.02))), T)
    told(executor, T)
    executor.add(TimedChunk(2 * T, (go(0.02), go(0.02))), 2 * T)
    told(executor, 2 * T)
    executor.add(TimedChunk(3 * T, (go(0.0, CLOSED), go(0.0, CLOSED))), 3 * T)
    assert told(executor, 3 * T) == (0.0, CLOSED)
    assert not executor.add(TimedChunk(3 * T + 1, (go(0.0, OPEN),)), 4 * T)


def test_the_first_answer_says_how_the_gripper_is() -> None:
    executor = waiting()
    executor.add(TimedChunk(0, (go(0.0, CLOSED), go(0.01, CLOSED))), LATE // 2)
    assert told(executor, LATE // 2)[1] == CLOSED


def test_what_is_planned_shows_the_wait() -> None:
    executor = waiting()
    begun(executor)
    executor.add(TimedChunk(T, GRASP), T)
    assert [(float(each.translation[0]), each.gripper) for each in executor.planned(T)] == [
        (pytest.approx(by, abs=1e-9), OPEN) for by in (0.01, 0.01, 0.0, 0.0, 0.0)
    ]


def grasping(place: float) -> tuple[EndEffectorAction, ...]:
    """The answer of a policy that goes to 0 by 3 cm a step and closes there: its next 8 actions."""
    actions: list[EndEffectorAction] = []
    for _ in range(8):
        way = float(np.clip(-place, -0.03, 0.03))
        at_goal = abs(place) < 0.002
        actions.append(
            go(0.05, CLOSED) if actions and actions[-1].gripper == CLOSED else go(way, CLOSED if at_goal else OPEN)
        )
        place += way
    return tuple(actions)


def play(
    policy: Callable[[float], tuple[EndEffectorAction, ...]], start: float, late: int, averages: bool
) -> list[tuple[float, Due]]:
    """The commands of 60 steps, with an observation each step, answered one after the other, ``late`` ns later.

    :returns: for each the place that it starts from, metres, and the command.
    """
    executor, place = waiting(averages), start
    commands: list[tuple[float, Due]] = []
    answer: tuple[int, tuple[EndEffectorAction, ...]] | None = None
    for now in range(0, 60 * T, 10 * MS):
        if answer is not None and now >= answer[0] + late:
            executor.add(TimedChunk(*answer), now)
            answer = None
        if answer is None and now % T == 0:
            answer = (now, policy(place))
        at = executor.next_at(now)
        if at is not None and at <= now:
            due = executor.take(now)
            assert due is not None
            commands.append((place, due))
            place += float(due.action.translation[0])
    return commands


@examples(quick=15)
@given(st.floats(-0.3, 0.3), st.integers(0, 60), st.booleans())
def test_a_policy_closes_where_it_wants_to_however_late_its_answers(start: float, late: int, averages: bool) -> None:
    commands = play(grasping, start, late * 10 * MS, averages)
    closed = [place for place, due in commands if due.action.gripper == CLOSED]
    assert closed, "it never closed"
    assert abs(closed[0]) < 0.005
