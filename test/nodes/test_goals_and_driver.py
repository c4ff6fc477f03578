"""What the robot's driver says ends the action server's goals: on a bench, whose clock is the test's."""

import pytest
from any_message import wire
from command_goals import verdict_on
from server_bench import Server, served
from test_vla_server_in_process import PERIOD_S, commands, goal, observe

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.safety.latch import CAUSES
from stvla_ros.msg import DriverState
from stvla_ros.nodes.server import instruction_goals

Result = ExecuteInstruction.Result
STALL_S = 5.0


class Clock:
    """In place of the module ``time`` of the goals."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(instruction_goals, "time", clock)
    return clock


@pytest.fixture
def server(clock: Clock):
    parameters = ("policy:=expert", f"control_hz:={1.0 / PERIOD_S}", "max_observation_age:=0.0")
    with served(*parameters, "execution:=receding", f"stall_timeout:={STALL_S}") as made:
        yield made


def say(server: Server, phase: int, *held_by: str) -> None:
    server.bench.receive("driver_state", wire(DriverState(phase=phase, held_by=held_by, detail="what happened")))


def step(server: Server, clock: Clock) -> None:
    """A control period with an observation, and what is done then."""
    clock.seconds += PERIOD_S
    server.now_ns += round(PERIOD_S * 1e9)
    observe(server)
    server.bench.run(server.node._alarm.wake)
    server.bench.run(server.node._goals._watch)


@pytest.mark.parametrize("cause", [*CAUSES, "driver"])
def test_a_goal_ends_when_the_driver_stops_and_the_reason_says_why(server: Server, clock: Clock, cause: str) -> None:
    say(server, DriverState.READY)
    goal(server)
    running = server.node._goals.current
    step(server, clock)
    count = len(commands(server))
    assert count
    say(server, DriverState.HELD, cause)
    assert server.node._goals.current is None
    assert running.outcome == Result.FAULT and f"the robot's driver stopped: {cause} (what happened)" in running.reason
    step(server, clock)
    assert len(commands(server)) == count


@pytest.mark.parametrize("reason", ["deadman", "clock", "not started"])
def test_a_goal_goes_on_through_what_only_holds_the_arm(server: Server, clock: Clock, reason: str) -> None:
    goal(server)
    say(server, DriverState.HELD, reason)
    assert server.node._goals.current is not None


def test_no_goal_begins_while_the_driver_is_stopped(server: Server, clock: Clock) -> None:
    say(server, DriverState.HELD, "estop")
    goal(server)
    assert server.node._goals.current is None
    say(server, DriverState.READY)
    assert server.node._goals.current is None, "the reset starts nothing"
    goal(server)
    assert server.node._goals.current is not None


def test_a_goal_whose_commands_are_all_refused_stalls(server: Server, clock: Clock) -> None:
    say(server, DriverState.READY)
    goal(server)
    running, began = server.node._goals.current, clock.seconds
    while server.node._goals.current is not None and clock.seconds < began + 3 * STALL_S:
        step(server, clock)
        if server.node._goals.current is not None:
            server.bench.receive("command_verdict", wire(verdict_on(commands(server)[-1], refused="held: deadman")))
    assert running.outcome == Result.STALLED
    assert running.reason == f"no command executed for {STALL_S} s; the driver refused the last one: held: deadman"
    assert STALL_S < clock.seconds - began < STALL_S + 2 * PERIOD_S


def test_executed_commands_keep_a_goal_going(server: Server, clock: Clock) -> None:
    say(server, DriverState.READY)
    goal(server)
    for number in range(round(3 * STALL_S / PERIOD_S)):
        step(server, clock)
        executed = number % 10 == 0
        server.bench.receive(
            "command_verdict",
            wire(verdict_on(commands(server)[-1], executed=executed, refused="" if executed else "singularity: near")),
        )
    assert server.node._goals.current is not None


def test_without_a_driver_commands_alone_keep_a_goal_going(server: Server, clock: Clock) -> None:
    goal(server)
    for _ in range(round(3 * STALL_S / PERIOD_S)):
        step(server, clock)
    assert server.node._goals.current is not None
