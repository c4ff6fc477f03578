"""Whatever is asked of the gate, what comes out obeys every limit: judged by the oracle of tools/safety_search."""

import functools

import pytest
from examples import examples
from hypothesis import example, given
from hypothesis import strategies as st
from sequences import REASONS, commands, events

from tools.safety_search.measures import broken
from tools.safety_search.robots import ROBOTS, Robot

# In the middle of a fast motion, the reason given again at each tick of the stop.
FAST = [("drive", (0.0, -0.04, 0.0), (0.0, 0.0, 0.0), 1.0, 3), ("ticks", 3)]
FAST_THEN_HELD = [*FAST, ("held", "joint states", 12)]
# Two reasons, the first of which goes away before the arm rests.
FAST_THEN_FLICKER = [*FAST, ("inhibit", "deadman"), ("ticks", 1), ("inhibit", "clock"), ("release", "deadman"), *FAST]


@functools.cache
def robot_of(name: str) -> Robot:
    return ROBOTS[name]()


@pytest.mark.parametrize("name", ROBOTS)
@examples(quick=25)
@given(sequence=events)
@example(sequence=FAST_THEN_HELD)
@example(sequence=FAST_THEN_FLICKER)
def test_any_sequence_obeys_every_limit(name, sequence):
    robot = robot_of(name)
    player = robot.player()
    player.play(sequence)
    assert broken(player.end(), robot.scene) == []


@pytest.mark.parametrize("name", ROBOTS)
@examples(quick=25)
@given(sequence=events, more=st.lists(commands, max_size=5))
@example(sequence=FAST, more=[("command", (0.01, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0)])
def test_an_emergency_stop_brings_rest_within_a_control_period_until_the_reset(name, sequence, more):
    robot = robot_of(name)
    player = robot.player()
    player.play(sequence)
    player.play([("inhibit", "estop"), ("ticks", round(robot.period_s / robot.tick_s))])
    assert not player.gate.moving
    rest = player.gate.position
    others = [("release", reason) for reason in REASONS if reason != "estop"]
    player.play([*more, ("inhibit", "deadman"), *others, *more, ("ticks", 5)])
    assert (player.gate.position == rest).all() and not player.gate.moving
