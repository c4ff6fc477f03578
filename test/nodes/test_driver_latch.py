"""What stops a driver for good, and that only the reset ends it: on a bench, whose clock is the test's."""

from typing import Any

import numpy as np
import pytest
from any_message import wire
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import QoSProfile
from robot_bench import RobotBench
from std_msgs.msg import Bool
from widowx_bench import PERIOD_TICKS, ROBOT, sideways, verdict

from stvla_ros.control.safety.latch import read_latch
from stvla_ros.msg import DriverState
from stvla_ros.nodes.drivers import driver_latch
from stvla_ros.nodes.kit.base import RELIABLE_QOS


def killed(robot: RobotBench) -> None:
    """The driver's process is killed, and one like it configured and activated in its place."""
    robot.node.latch._latch.end = lambda: None
    robot.bench.start()


def stopped_until_reset(robot: RobotBench, cause: str) -> None:
    """It moves for nothing and calls nothing; the reset takes it up, and starts nothing."""
    asked: list[Any] = []
    answers, robot.answers = robot.answers, lambda request: (asked.append(request), answers(request))[1]
    before = robot.position
    for _ in range(20):
        sideways(robot)
        assert "held: " in verdict(robot).refused and cause in verdict(robot).refused
        robot.tick(5)
        assert not robot.bench.call("~/home").success
    assert asked == [] and np.array_equal(robot.position, before)
    assert cause in robot.node.latch.causes
    phase, held_by, detail = robot.node._phase()
    assert phase == DriverState.HELD and cause in held_by and "no service of the arm is called" in detail
    robot.answers = answers
    robot.reset()
    robot.tick(40)
    assert robot.node.engaged
    for _ in range(5):
        sideways(robot)
        assert verdict(robot).refused.startswith("goal: ")
        robot.tick(PERIOD_TICKS)
    assert np.array_equal(robot.position, before), "the reset starts something"
    robot.new_goal()
    sideways(robot)
    assert verdict(robot).executed


def test_a_killed_driver_stays_stopped_until_the_reset(ready: RobotBench) -> None:
    sideways(ready, 3)
    ready.tick(2)
    killed(ready)
    stopped_until_reset(ready, "driver ended")


@pytest.fixture
def no_saver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that writes stops does not come to it."""
    monkeypatch.setattr(driver_latch.Alarm, "wake", lambda alarm: None)


@pytest.mark.parametrize("by", ["service", "topic"])
def test_a_stop_of_an_inactive_driver_is_on_the_disk_at_once(ready: RobotBench, no_saver: None, by: str) -> None:
    ready.node.on_deactivate(None)
    if by == "service":
        ready.bench.call("~/estop")
    else:
        ready.bench.receive("estop", wire(Bool(data=True)))
    assert "estop" in read_latch(ready.latch_file).causes


def test_a_stop_that_was_not_written_yet_is_on_the_disk_after_the_cleanup(ready: RobotBench, no_saver: None) -> None:
    ready.bench.call("~/estop")
    assert not read_latch(ready.latch_file).causes
    # Of an arm that did not come to rest in time.
    ready.node.latch._latch.end = lambda: None
    ready.bench.stop()
    assert "estop" in read_latch(ready.latch_file).causes


def test_an_emergency_stop_outlives_a_cleanup_and_a_kill(ready: RobotBench) -> None:
    ready.bench.call("~/estop")
    ready.bench.start()
    killed(ready)
    assert set(ready.node.latch.causes) == {"estop", "driver ended"}
    stopped_until_reset(ready, "estop")


def test_a_deactivation_does_not_open_the_latch(ready: RobotBench) -> None:
    ready.bench.call("~/estop")
    ready.tick(PERIOD_TICKS)
    assert ready.node.on_deactivate(None) == TransitionCallbackReturn.SUCCESS
    assert ready.node.on_activate(None) == TransitionCallbackReturn.SUCCESS
    stopped_until_reset(ready, "estop")


def test_an_emergency_stop_counts_while_the_driver_is_inactive(ready: RobotBench) -> None:
    assert ready.node.on_deactivate(None) == TransitionCallbackReturn.SUCCESS
    ready.bench.receive("estop", wire(Bool(data=True)))
    assert ready.node.on_activate(None) == TransitionCallbackReturn.SUCCESS
    stopped_until_reset(ready, "estop")


def test_an_emergency_stop_counts_while_the_driver_waits_for_its_arm(driver: RobotBench) -> None:
    driver.begin()
    driver.speaks = False
    driver.tick(5)
    driver.bench.receive("estop", wire(Bool(data=True)))
    driver.speaks = True
    stopped_until_reset(driver, "estop")
    driver.bench.stop()


def test_an_arm_that_was_without_power_stays_stopped_until_the_reset(ready: RobotBench) -> None:
    sideways(ready, 3)
    ready.speaks = False
    ready.tick(750)  # 15 s
    ready.speaks = True
    stopped_until_reset(ready, "arm lost")


def test_a_goal_from_before_the_reset_is_none_that_the_driver_hears_of_after_it(
    ready: RobotBench,
) -> None:
    ready.bench.call("~/estop")
    ready.tick(PERIOD_TICKS)
    ready.new_goal()
    ready.tick(PERIOD_TICKS)
    ready.reset()
    ready.tick(40)
    sideways(ready)
    assert (
        verdict(ready).refused == "goal: expected one accepted after the last goal and the last reset, got an older one"
    )


def test_a_goal_does_not_go_on_after_a_deactivation(ready: RobotBench) -> None:
    sideways(ready)
    ready.tick(40)
    told = ready.bench.sent("driver_state")
    assert ready.node.on_deactivate(None) == TransitionCallbackReturn.SUCCESS
    assert list(told[-1].held_by) == ["driver"], "whoever commands must hear it"
    assert ready.node.on_activate(None) == TransitionCallbackReturn.SUCCESS
    ready.tick(40)
    sideways(ready)
    assert "the goal of this command is over" in verdict(ready).refused
    ready.new_goal()
    sideways(ready)
    assert verdict(ready).executed


def test_a_stop_that_is_reset_at_once_was_told(ready: RobotBench) -> None:
    ready.bench.forget()
    ready.bench.call("~/estop")
    assert ready.bench.call("~/reset").success
    assert [list(state.held_by) for state in ready.bench.sent("driver_state")] == [["estop"]]


def test_an_end_in_order_is_no_reason_to_stop(ready: RobotBench) -> None:
    sideways(ready, 3)
    ready.tick(2)
    ready.bench.start()
    ready.until_engaged()
    assert ready.node.engaged and not ready.node.latch.closed


def test_a_latch_that_cannot_be_kept_refuses_the_start(driver: RobotBench, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.bench.stop()
    monkeypatch.setattr(driver.node.latch, "_folder", "/proc/nowhere")
    assert driver.node.on_configure(None) == TransitionCallbackReturn.FAILURE
    assert driver.node.configure_error.startswith("file /proc/nowhere/widowx_driver.json: a stop cannot be kept there")


class _Publisher:
    def __init__(self, qos: QoSProfile) -> None:
        self.qos_profile = qos


def test_a_reset_is_refused_while_a_source_still_says_stop(ready: RobotBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ready.node, "get_publishers_info_by_topic", lambda topic: [_Publisher(RELIABLE_QOS)] * (topic == "/estop")
    )
    ready.bench.receive("estop", wire(Bool(data=True)))
    ready.tick(PERIOD_TICKS)
    answer = ready.bench.call("~/reset")
    assert not answer.success and answer.message == "topic estop: a source still says true; release it first"
    assert ready.node.latch.closed
    ready.bench.receive("estop", wire(Bool(data=False)))
    assert ready.node.latch.closed, "the release alone starts nothing"
    assert ready.bench.call("~/reset").success


def test_an_arm_whose_torque_a_person_switches_off_is_sent_nothing_while_it_is_stopped(ready: RobotBench) -> None:
    sideways(ready, 3)
    ready.bench.call("~/estop")
    ready.tick(2 * PERIOD_TICKS)
    moved = ready.position = ready.position + [0.2, 0.0, 0.0, 0.0, 0.0, 0.0]
    ready.tick(100)
    assert np.array_equal(ready.position, moved)
    ready.reset()
    ready.tick(40)
    assert np.array_equal(ready.segments[-1].start, moved)


@pytest.fixture
def with_heartbeat(ready: RobotBench, monkeypatch: pytest.MonkeyPatch) -> RobotBench:
    monkeypatch.setattr(ready.node._stops._topic, "_heartbeat_s", 0.5)
    ready.begin()
    return ready


def test_a_stop_button_that_falls_silent_stops_the_arm(
    with_heartbeat: RobotBench,
) -> None:
    robot = with_heartbeat
    robot.until_engaged()
    assert robot.node.gate.inhibitors == {"estop heartbeat"} and not robot.node.latch.closed
    for _ in range(5):
        robot.bench.receive("estop", wire(Bool(data=False)))
        robot.tick(20)
        assert not robot.node.gate.inhibitors
    robot.tick(6)
    assert list(robot.node.latch.causes) == ["estop"]
    assert "silent for 0.5" in robot.node.latch.causes["estop"]
    answer = robot.bench.call("~/reset")
    assert not answer.success and "estop_heartbeat is 0.5" in answer.message
    robot.bench.receive("estop", wire(Bool(data=False)))
    assert robot.bench.call("~/reset").success


# --- home at the start ------------------------------------------------------------------------------------------------


@pytest.fixture
def sent_home(ready: RobotBench) -> RobotBench:
    """It went home at its start, was commanded elsewhere since, and is the parameter's home_first still."""
    ready.node._engagement._home_first, ready.node.latch._ever_closed = True, False  # as in a new process
    ready.position = ready.position + [0.0, 0.2, 0.0, 0.0, 0.0, 0.0]
    ready.bench.start()
    ready.tick(200)
    assert np.allclose(ready.position, ROBOT.driver.home), "the first start moves it home"
    ready.new_goal()
    sideways(ready, 3)
    ready.tick(40)
    ready.node._engagement._home_first, ready.node.latch._ever_closed = True, False
    return ready


def test_home_waits_until_the_clock_runs(ready: RobotBench) -> None:
    """A recording's clock begins after the driver."""
    ready.bench.stop()
    ready.node._engagement._home_first, ready.node.latch._ever_closed = True, False  # as in a new process
    ready.position = ready.position + [0.0, 0.2, 0.0, 0.0, 0.0, 0.0]
    before = ready.position
    ready.bench.start()
    for number in range(100):
        ready.speaks = number > 40  # the arm is up once the clock has been seen to stand
        ready.tick(1)
        ready.clock.jumped_ns -= round(1e9 / ROBOT.driver.tick_hz)
    assert ready.node.engaged and ready.node.gate.inhibitors == {"clock"}
    assert np.array_equal(ready.position, before)
    ready.tick(200)
    assert np.allclose(ready.position, ROBOT.driver.home)


def stays(robot: RobotBench) -> bool:
    before = robot.position
    robot.tick(100)
    assert robot.node.engaged
    return np.array_equal(robot.position, before)


def test_a_driver_that_was_killed_does_not_move_home_when_it_is_started_again(sent_home: RobotBench) -> None:
    killed(sent_home)
    sent_home.tick(40)
    sent_home.reset()
    assert stays(sent_home)


def test_a_driver_that_ended_in_order_does_not_move_home_when_it_is_started_again(sent_home: RobotBench) -> None:
    sent_home.bench.start()
    assert stays(sent_home)


def test_a_driver_that_somebody_else_starts_moves_home(sent_home: RobotBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_latch, "_starter", lambda: "1:2")
    sent_home.bench.start()
    assert not stays(sent_home)


def test_a_stop_before_the_arm_is_up_takes_back_the_way_home(sent_home: RobotBench) -> None:
    sent_home.latch_file.unlink()
    sent_home.bench.start()
    sent_home.bench.call("~/estop")
    sent_home.reset()
    assert stays(sent_home)
