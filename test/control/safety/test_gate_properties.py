"""Whatever is asked of the gate, what comes out obeys every limit."""

from contextlib import suppress

import numpy as np
import pytest
from arms import PERIOD_S, ROBOTS, TICK_S, assert_within_limits, started_gate
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.safety.gate import SafetyGate
from stvla_ros.control.safety.requests import Observed, TooLate
from stvla_ros.errors import InputError

TICK_NS = round(TICK_S * 1e9)

numbers = st.floats(-0.3, 0.3) | st.floats(-0.03, 0.03) | st.sampled_from([0.0, 1e3, -1e3, 1e300])
commands = st.tuples(st.just("command"), st.tuples(*[numbers] * 3), st.tuples(*[numbers] * 3), st.floats(0.0, 1.0))
# Steadily in one direction, as a policy does: only so is a limit ever reached.
ways = st.tuples(*[st.sampled_from([0.0, 0.02, -0.02, 0.04, -0.04])] * 3)
turns = st.tuples(*[st.sampled_from([0.0, 0.0, 0.2, -0.2])] * 3)
# Planned while ticks come, and now and then something else happens.
interludes = st.lists(
    st.tuples(st.just("ticks"), st.integers(1, 6))
    | st.tuples(st.just("inhibit"), st.just("deadman"))
    | st.tuples(st.just("release"), st.just("deadman"))
    | commands,
    max_size=3,
)
slow_commands = st.tuples(
    st.just("slowly"), st.tuples(*[numbers] * 3), st.tuples(*[numbers] * 3), st.integers(0, 5), interludes
)
slow_ways = st.tuples(st.just("way"), st.integers(0, 2), st.floats(-0.3, 0.3), interludes)
drives = st.tuples(st.just("drive"), ways, turns, st.integers(1, 20))
events = st.lists(
    commands
    | drives
    | slow_commands
    | slow_ways
    | st.tuples(st.just("ticks"), st.integers(1, 15))
    | st.tuples(st.just("inhibit"), st.sampled_from(["estop", "deadman", "joint states"]))
    | st.tuples(st.just("held"), st.sampled_from(["joint states", "tracking"]), st.integers(1, 15))
    | st.tuples(st.just("release"), st.sampled_from(["estop", "deadman", "joint states"])),
    max_size=12,
)


# In the middle of a fast motion, the reason given again at each tick of the stop.
FAST_THEN_HELD = [("drive", (0.0, -0.04, 0.0), (0.0, 0.0, 0.0), 3), ("ticks", 3), ("held", "joint states", 12)]


class Watched:
    """A gate, its clock, and all that came out of it."""

    def __init__(self, robot: str) -> None:
        self.gate: SafetyGate = started_gate(robot)
        self.now, self.went = 0, False
        self.setpoints = [self.gate.tick()] * 4

    def run(self, event: tuple) -> None:
        kind, *rest = event
        if kind == "command":
            translation, rotation, gripper = rest
            self.gate.command(EndEffectorAction(np.array(translation), np.array(rotation), gripper), self.now, self.now)
            self.tick(3)
        elif kind == "drive":
            way, turn, count = rest
            for _ in range(count):
                self.gate.command(EndEffectorAction(np.array(way), np.array(turn), 1.0), self.now, self.now)
                self.tick(round(PERIOD_S / TICK_S))
        elif kind == "slowly":
            translation, rotation, lead, meanwhile = rest
            action = EndEffectorAction(np.array(translation), np.array(rotation), 0.5)
            request = self.gate.prepare(action, Observed(self.now, self.now), self.now, lead)
            for each in meanwhile:
                self.run(each)
            try:
                self.gate.accept(self.gate.plan(request), self.now)
            except TooLate:
                assert any(each[0] in ("ticks", "command") for each in meanwhile)
        elif kind == "way":
            number, turn, meanwhile = rest
            with suppress(InputError):  # held, refused, overtaken
                departure = self.gate.prepare_way()
                motion = self.gate.plan_way(self.gate.position + turn * (np.arange(6) == number), departure)
                for each in meanwhile:
                    self.run(each)
                self.gate.accept_way(departure, motion, self.now)
                self.went = True
        elif kind == "ticks":
            self.tick(*rest)
        elif kind == "held":
            # As a driver does: it says so every tick for as long as the reason holds.
            reason, count = rest
            for _ in range(count):
                self.gate.inhibit(reason)
                self.tick(1)
        elif kind == "inhibit":
            self.gate.inhibit(*rest)
        else:
            self.gate.release(*rest, self.now)

    def tick(self, count: int) -> None:
        for _ in range(count):
            self.now += TICK_NS
            self.setpoints.append(self.gate.tick())


@pytest.mark.parametrize("robot", ROBOTS)
@settings(max_examples=60, deadline=None)
@given(sequence=events)
@example(sequence=FAST_THEN_HELD)
def test_any_sequence_obeys_every_limit(robot, sequence):
    watched = Watched(robot)
    for event in sequence:
        watched.run(event)
    watched.tick(40)
    assert_within_limits(robot, watched.setpoints, in_workspace=not watched.went)


@pytest.mark.parametrize("robot", ROBOTS)
@settings(max_examples=60, deadline=None)
@given(sequence=events, more=st.lists(commands, max_size=5))
@example(sequence=FAST_THEN_HELD[:2], more=[("command", (0.01, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0)])
def test_an_emergency_stop_brings_rest_within_a_control_period_until_the_reset(robot, sequence, more):
    watched = Watched(robot)
    for event in sequence:
        watched.run(event)
    watched.gate.inhibit("estop")
    watched.tick(round(PERIOD_S / TICK_S))
    rest = watched.setpoints[-1].position
    for event in (*more, ("inhibit", "deadman"), ("release", "deadman")):
        watched.run(event)
    watched.tick(5)
    assert all(np.array_equal(setpoint.position, rest) for setpoint in watched.setpoints[-8:])
    assert not watched.gate.moving
