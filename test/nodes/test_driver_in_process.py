"""What a driver does at its lifecycle's transitions, tick by tick: on a bench, whose clock is the test's."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Vector3
from rclpy.lifecycle import TransitionCallbackReturn
from robot_bench import RobotBench
from widowx_bench import PERIOD_TICKS, ROBOT, sideways, verdict

from stvla_ros.msg import EndEffectorCommand
from stvla_ros.nodes.kit.messages import stamp_to_ns


def test_a_verdict_tells_by_how_much_the_target_moved_and_when(ready: RobotBench) -> None:
    ready.command(EndEffectorCommand(translation=Vector3(x=0.2)), 0)
    assert list(verdict(ready).clipped) == ["step_translation"]
    assert verdict(ready).translation.x == pytest.approx(ready.node.description.limits.step_translation)
    assert stamp_to_ns(verdict(ready).moved_at) == ready.node.now_ns()


def test_a_deactivation_in_motion_brings_the_arm_to_rest_within_a_control_period(ready: RobotBench) -> None:
    sideways(ready, 4)
    ready.tick(2)
    (segment,) = ready.segments
    moved = len(segment.positions)
    assert np.abs(segment.positions[-1] - segment.positions[-2]).max() > 1e-3
    assert ready.node.on_deactivate(None) == TransitionCallbackReturn.SUCCESS
    assert not ready.node.gate.moving
    assert 2 <= len(segment.positions) - moved <= PERIOD_TICKS
    steps = np.abs(np.diff(segment.positions[moved - 1 :], axis=0)).max(axis=1)
    assert steps[0] > steps[-1] > 0.0


def test_after_a_reactivation_nothing_is_accepted_before_the_arm_has_said_where_it_is(ready: RobotBench) -> None:
    ready.tick(2)
    assert ready.node.on_deactivate(None) == TransitionCallbackReturn.SUCCESS
    ready.speaks = False
    assert ready.node.on_activate(None) == TransitionCallbackReturn.SUCCESS
    sideways(ready)
    assert not verdict(ready).executed and "not started" in verdict(ready).refused
    ready.position = ready.position + [0.3, 0.0, 0.0, 0.0, 0.0, 0.0]  # somebody moved it meanwhile
    ready.speaks = True
    ready.until_engaged()
    assert ready.node.engaged
    assert np.array_equal(ready.segments[-1].positions[-1], ready.segments[-1].start)
    assert ready.segments[-1].start[0] - ready.segments[0].start[0] == pytest.approx(0.3)
    ready.new_goal()
    sideways(ready)
    assert verdict(ready).executed


def test_a_reset_takes_the_arm_up_where_it_is(ready: RobotBench) -> None:
    ready.bench.call("~/estop")
    ready.tick(PERIOD_TICKS)
    assert ready.node.gate.inhibitors == {"estop"}
    assert not ready.bench.sent("setpoint"), "whoever moves the arm must not see it come back"
    ready.position = ready.position + [0.2, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert ready.bench.call("~/reset").success
    ready.until_engaged()
    assert ready.segments[-1].start[0] - ready.segments[0].start[0] == pytest.approx(0.2)
    assert np.array_equal(ready.position, ready.segments[-1].start), "it moves without a command"


def test_a_reset_while_the_arm_still_brakes_is_refused(ready: RobotBench) -> None:
    sideways(ready, 4)
    ready.tick(2)
    ready.bench.call("~/estop")
    answer = ready.bench.call("~/reset")
    assert not answer.success and answer.message == "the arm still moves; try again"
    assert "estop" in ready.node.gate.inhibitors


def test_silence_of_an_engaged_arm_stops_it_until_the_reset(ready: RobotBench) -> None:
    sideways(ready, 3)
    ready.tick(2)
    ready.speaks = False
    ready.tick(round(1.5 * ROBOT.driver.limits.joint_state_timeout * ROBOT.driver.tick_hz) + PERIOD_TICKS)
    assert not ready.node.engaged and not ready.node.gate.moving
    ready.speaks = True
    ready.tick(50)
    assert not ready.node.engaged and list(ready.node.latch.causes) == ["arm lost"]
    assert ready.bench.call("~/reset").success
    ready.until_engaged()
    assert ready.node.engaged and not ready.node.gate.inhibitors


def test_a_driver_that_was_frozen_does_not_go_on_by_itself_even_if_it_hears_the_arm_first(ready: RobotBench) -> None:
    sideways(ready, 3)
    ready.tick(2)
    ready.clock.elapsed_ns += round(1.1e9 * ROBOT.driver.limits.joint_state_timeout)
    ready.tick(1)  # the arm is heard just before
    assert list(ready.node.latch.causes) == ["arm lost"]
    assert "this driver did nothing for" in ready.node.latch.causes["arm lost"]
    ready.tick(50)
    sideways(ready)
    assert not verdict(ready).executed
    assert ready.bench.call("~/reset").success
    ready.until_engaged()


def test_when_no_command_comes_any_more_the_arm_holds_within_the_watchdogs_time(ready: RobotBench) -> None:
    """As when the cable to the computer of the policy is pulled."""
    sideways(ready, 4)
    moved = 0
    while ready.node.gate.moving:
        ready.tick(1)
        moved += 1
    assert 0 < moved <= ROBOT.driver.limits.watchdog_periods * PERIOD_TICKS
    held = ready.position.copy()
    # What was on its way comes when the cable is back: old observations move nothing.
    ready.tick(round(2.0 * ROBOT.driver.limits.observation_age * ROBOT.driver.tick_hz))
    late = EndEffectorCommand(gripper=1.0)
    late.translation.y = -0.03
    ready.command(late, -round(1.1 * ROBOT.driver.limits.observation_age * 1e9))
    assert not verdict(ready).executed and "observation age" in verdict(ready).refused
    ready.tick(PERIOD_TICKS)
    assert np.array_equal(ready.position, held)
    sideways(ready)
    assert verdict(ready).executed


def test_a_command_in_another_frame_moves_nothing_and_says_so(ready: RobotBench) -> None:
    message = EndEffectorCommand(gripper=1.0)
    message.translation.y = 0.03
    message.header.frame_id = "camera"
    ready.command(message, 0)
    assert not verdict(ready).executed and "expected frame_id base_link, got 'camera'" in verdict(ready).refused
    assert not ready.node.gate.moving


def while_planning(robot: RobotBench, act: Callable[[], None]) -> None:
    """Let something happen each time that a motion is planned."""
    plan = robot.node.gate.plan

    def planned(request: Any) -> Any:
        act()
        return plan(request)

    robot.node.gate.plan = planned


def test_ticks_need_not_wait_while_a_motion_is_planned(ready: RobotBench) -> None:
    free = []

    def look() -> None:
        def take() -> None:
            free.append(ready.node.lock.acquire(blocking=False))
            if free[-1]:
                ready.node.lock.release()

        thread = threading.Thread(target=take)
        thread.start()
        thread.join()

    while_planning(ready, look)
    sideways(ready)
    assert verdict(ready).executed and free == [True]


@pytest.mark.parametrize("ticks", [1, 3])
def test_a_motion_that_is_planned_over_some_ticks_is_followed_without_a_jump(ready: RobotBench, ticks: int) -> None:
    sideways(ready, 2)
    ready.tick(2)
    while_planning(ready, lambda: ready.tick(ticks))
    sideways(ready)
    assert verdict(ready).executed
    ready.tick(3 * PERIOD_TICKS)
    rates = np.abs(np.diff(ready.segments[-1].positions, n=2, axis=0)) * ROBOT.driver.tick_hz**2
    assert 5.0 < rates.max() <= 25.0 * 1.01


def test_a_motion_that_takes_too_long_to_plan_is_refused_and_the_one_before_goes_on(ready: RobotBench) -> None:
    sideways(ready, 2)
    ready.tick(2)
    while_planning(ready, lambda: ready.tick(6))
    sideways(ready)
    assert verdict(ready).refused.startswith("too late: ")
    assert ready.node.gate.counts["refused: too late"] == 1


def test_a_stop_while_a_motion_is_planned_wins(ready: RobotBench) -> None:
    while_planning(ready, lambda: ready.bench.call("~/estop"))
    sideways(ready)
    assert "estop" in verdict(ready).refused
    ready.tick(5)
    assert np.array_equal(ready.position, ready.segments[-1].start)
