"""Clocks that stand still or run slowly, and setpoints that leave late, as a driver takes them."""

from collections.abc import Iterator

import pytest
from robot_bench import RobotBench
from widowx_bench import PERIOD_TICKS, ROBOT, sideways, verdict

from stvla_ros.msg import EndEffectorCommand

TICK_NS = round(1e9 / ROBOT.driver.tick_hz)


@pytest.fixture
def ready(ready: RobotBench) -> Iterator[RobotBench]:
    yield ready
    ready.node.now_ns = ready.clock.now_ns


def stop_the_clock(robot: RobotBench, rate: float = 0.0) -> int:
    """From now on the node's clock runs at this rate of the machine's. :returns: what it shows."""
    now, began = robot.clock.now_ns(), robot.clock.elapsed_ns
    robot.node.now_ns = lambda: now + round(rate * (robot.clock.elapsed_ns - began))
    return now


def command(robot: RobotBench, stamp: int) -> None:
    message = EndEffectorCommand(gripper=1.0)
    message.translation.y = -0.005
    robot.command(message, stamp - robot.clock.now_ns())


def state(robot: RobotBench) -> tuple[list[str], str]:
    robot.node.reports._told = None
    robot.tick(1)
    told = robot.bench.sent("driver_state")[-1]
    return list(told.held_by), told.detail


def test_a_clock_that_stands_still_holds_the_arm_and_it_goes_on_when_the_clock_does(ready: RobotBench) -> None:
    stamp, refused = stop_the_clock(ready), []
    for _ in range(8):
        command(ready, stamp)
        refused.append(verdict(ready).refused)
        ready.tick(PERIOD_TICKS)
    assert refused == [""] * 3 + ["held: clock"] * 5
    held_by, detail = state(ready)
    assert held_by == ["clock"] and detail.startswith("the clock stands still for more than 0.5 s")
    ready.node.now_ns = lambda: ready.clock.now_ns() - 2 * 10**9
    ready.tick(5)
    command(ready, ready.node.now_ns())
    assert verdict(ready).executed


def test_the_observation_of_before_the_clock_stood_is_not_answered_afterwards(ready: RobotBench) -> None:
    stamp = stop_the_clock(ready)
    ready.tick(40)
    now = ready.clock.elapsed_ns
    ready.node.now_ns = lambda: stamp + ready.clock.elapsed_ns - now
    ready.tick(5)
    command(ready, stamp)
    assert verdict(ready).refused.startswith(("observation before the release", "observation age"))


def test_an_observation_is_as_old_as_the_machine_says_when_the_clock_runs_slowly(ready: RobotBench) -> None:
    stamp = stop_the_clock(ready, 0.5)
    ready.tick(80)
    command(ready, stamp)
    assert verdict(ready).refused == "observation age: 1.60 s, 1.5 allowed"


def test_a_machines_clock_at_half_its_speed_holds_the_arm(ready: RobotBench) -> None:
    stop_the_clock(ready, 0.5)
    ready.tick(110)
    assert state(ready) == (["clock"], "the machine's clock runs at 0.5 times its speed")


def late(robot: RobotBench, count: int) -> None:
    """Setpoints that leave three and a half periods after the ones before."""
    for _ in range(count):
        robot.clock.elapsed_ns += round(2.5 * TICK_NS)
        robot.tick(1)


def test_setpoints_that_leave_late_stop_the_arm_until_the_reset(ready: RobotBench) -> None:
    late(ready, 2)
    assert not ready.node.gate.inhibitors
    sideways(ready)
    late(ready, 1)
    held_by, detail = state(ready)
    assert held_by == ["late ticks"] and "3 of the last 20 setpoints left more than 2 periods" in detail
    ready.tick(2 * PERIOD_TICKS)
    assert not ready.node.gate.moving
    assert ready.bench.call("~/reset").success
    ready.until_engaged()
    assert ready.node.engaged and not ready.node.gate.inhibitors


def test_late_setpoints_are_counted_on_the_diagnostics(ready: RobotBench) -> None:
    before = ready.node.extra_diagnostics()["late_ticks"]
    late(ready, 1)
    told = ready.node.extra_diagnostics()
    assert told["late_ticks"] == before + 1 and told["tick_lateness_worst_ms"] >= 50.0
