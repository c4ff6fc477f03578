"""A command whose motion is planned while ticks go on: it begins in the state in which the arm is, or not at all."""

import numpy as np
import pytest
from arms import PERIOD_S, READY, TICK_S, started_gate

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.safety.gate import SafetyGate
from stvla_ros.control.safety.requests import Observed, Planned, TooLate, Verdict
from stvla_ros.errors import InputError

PERIOD_NS = round(PERIOD_S * 1e9)
SIDEWAYS = EndEffectorAction(np.array([0.0, -0.03, 0.0]), np.zeros(3), 1.0)
UPWARDS = EndEffectorAction(np.array([0.0, 0.0, 0.03]), np.zeros(3), 1.0)


@pytest.fixture
def moving() -> SafetyGate:
    """In the middle of a fast motion; the next observation is that of the time PERIOD_NS."""
    gate = started_gate()
    assert gate.command(SIDEWAYS, 0, 0).executed
    tick(gate, 6)
    return gate


def tick(gate: SafetyGate, count: int) -> list[np.ndarray]:
    return [gate.tick().position for _ in range(count)]


def planned(gate: SafetyGate, lead_ticks: int, action: EndEffectorAction = UPWARDS) -> Planned | Verdict:
    return gate.plan(gate.prepare(action, Observed(PERIOD_NS, PERIOD_NS), PERIOD_NS, lead_ticks))


@pytest.mark.parametrize("ticks", [0, 1, 2, 3])
def test_it_is_the_same_motion_however_many_ticks_planning_takes(moving: SafetyGate, ticks: int) -> None:
    plan = planned(moving, 3)
    during = tick(moving, ticks)
    assert moving.accept(plan, PERIOD_NS).executed
    after = [*during, *tick(moving, 25)]
    assert np.array_equal(after[3:5], [state.position for state in plan.motion.states[:2]])
    rates = np.diff([READY, READY, *after], n=2, axis=0)[2:] / TICK_S**2
    assert np.abs(rates).max() < 25.0 * 1.01 and not moving.moving


def test_a_motion_whose_beginning_is_past_is_not_followed(moving: SafetyGate) -> None:
    plan = planned(moving, 3)
    tick(moving, 4)
    with pytest.raises(TooLate, match="the arm went past the state in which the planned motion begins"):
        moving.accept(plan, PERIOD_NS)
    before = started_gate()
    before.command(SIDEWAYS, 0, 0)
    tick(before, 10)
    assert np.array_equal(tick(moving, 10), tick(before, 10)), "the motion before goes on"


def test_an_arm_at_rest_waits_for_its_motion_as_long_as_that_takes() -> None:
    gate = started_gate()
    plan = planned(gate, 1)
    tick(gate, 50)
    assert gate.accept(plan, PERIOD_NS).executed
    assert np.array_equal(tick(gate, 1)[0], plan.motion.states[0].position)


def test_a_motion_may_begin_where_the_one_before_ends_while_the_plan_is_made(moving: SafetyGate) -> None:
    plan = planned(moving, 100)
    tick(moving, 40)
    assert not moving.moving
    assert moving.accept(plan, PERIOD_NS).executed


def test_a_stop_while_the_motion_is_planned_wins(moving: SafetyGate) -> None:
    plan = planned(moving, 3)
    moving.inhibit("estop")
    assert moving.accept(plan, PERIOD_NS).refused == "held: estop"
    rest = tick(moving, round(PERIOD_S / TICK_S))[-1]
    assert np.array_equal(tick(moving, 5), [rest] * 5)


def test_a_stop_that_is_over_by_then_wins_too(moving: SafetyGate) -> None:
    plan = planned(moving, 3)
    moving.inhibit("estop")
    moving.release("estop", PERIOD_NS)
    assert moving.accept(plan, PERIOD_NS).refused.startswith("overtaken")


@pytest.mark.parametrize("other", ["command", "way", "start"])
def test_of_two_motions_that_are_planned_from_one_state_only_one_is_followed(moving: SafetyGate, other: str) -> None:
    plan = planned(moving, 3)
    if other == "command":
        assert moving.command(SIDEWAYS, PERIOD_NS, PERIOD_NS).executed
    elif other == "way":
        moving.move_to(READY, 0)
    else:
        moving.start(READY, 1.0, 0)
    assert moving.accept(plan, PERIOD_NS).refused.startswith("overtaken")


def test_an_observation_that_grows_too_old_while_the_motion_is_planned_is_refused(moving: SafetyGate) -> None:
    plan = planned(moving, 3)
    assert moving.accept(plan, PERIOD_NS + 2 * 10**9).refused.startswith("observation age")


def test_planning_changes_nothing_of_the_gate(moving: SafetyGate) -> None:
    before = started_gate()
    before.command(SIDEWAYS, 0, 0)
    tick(before, 6)
    planned(moving, 3)
    assert np.array_equal(tick(moving, 20), tick(before, 20))
    assert moving.counts == before.counts


def test_a_stop_in_the_midst_of_the_motion_before_is_the_one_that_was_checked_with_it(moving: SafetyGate) -> None:
    plan = planned(moving, 5)
    assert moving.accept(plan, PERIOD_NS).executed
    tick(moving, 2)
    moving.inhibit("estop")
    before = started_gate()
    before.command(SIDEWAYS, 0, 0)
    tick(before, 8)
    before.inhibit("estop")
    assert np.array_equal(tick(moving, 20), tick(before, 20))


def test_a_stop_right_after_a_command_that_ended_a_braking_still_brakes(moving: SafetyGate) -> None:
    moving.inhibit("deadman")
    *_, before, last = [moving.position, *tick(moving, 1)]
    moving.release("deadman", 0)
    assert moving.command(UPWARDS, PERIOD_NS, PERIOD_NS).executed
    moving.inhibit("deadman")
    way = np.array([before, last, *tick(moving, 10)])
    assert np.abs(np.diff(way[:, 0], n=2)).max() / TICK_S**2 < 16.0 * 1.01  # of the waist
    assert way[2, 0] != way[1, 0] and np.array_equal(way[-1], way[-2])


def test_a_way_begins_where_the_arm_comes_to_rest(moving: SafetyGate) -> None:
    departure = moving.prepare_way()
    motion = moving.plan_way(READY, departure)
    tick(moving, 3)
    assert moving.accept_way(departure, motion, 0) > 0.0
    way = tick(moving, 60)
    assert way[-1] == pytest.approx(READY) and not moving.moving
    assert any(np.array_equal(each, departure.start.position) for each in way)


def test_a_way_is_not_followed_after_a_stop_while_it_was_planned(moving: SafetyGate) -> None:
    departure = moving.prepare_way()
    motion = moving.plan_way(READY, departure)
    moving.inhibit("estop")
    with pytest.raises(InputError, match="held: estop"):
        moving.accept_way(departure, motion, 0)
    moving.release("estop", 0)
    with pytest.raises(InputError, match="overtaken"):
        moving.accept_way(departure, motion, 0)
