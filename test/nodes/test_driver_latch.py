"""What stops a driver for good, and that only the reset ends it: on a bench, whose clock is the test's."""

from typing import Any

import numpy as np
import pytest
from any_message import wire
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import QoSProfile
from robot_bench import RobotBench
from std_msgs.msg import Bool
from widowx_bench import PERIOD_TICKS, sideways, verdict

from stvla_ros.msg import DriverState
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
    assert robot.node.engaged and np.array_equal(robot.position, before)


def test_a_killed_driver_stays_stopped_until_the_reset(ready: RobotBench) -> None:
    sideways(ready, 3)
    ready.tick(2)
    killed(ready)
    stopped_until_reset(ready, "driver ended")


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
    monkeypatch.setattr(ready.node, "get_publishers_info_by_topic", lambda topic: [_Publisher(RELIABLE_QOS)])
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
