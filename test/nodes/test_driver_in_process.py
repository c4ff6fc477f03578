"""What a driver does at its lifecycle's transitions, tick by tick: on a bench, whose clock is the test's."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from any_message import wire
from rclpy.lifecycle import TransitionCallbackReturn
from robot_bench import RobotBench, robot_bench
from sensor_msgs.msg import JointState

from stvla_ros.msg import EndEffectorCommand
from stvla_ros.nodes.drivers.driver import DriverNode
from stvla_ros.robots.embodiments import find_embodiment

ROBOT = find_embodiment("widowx")
PERIOD_TICKS = round(ROBOT.driver.tick_hz / ROBOT.control_hz)

pytest.importorskip("interbotix_xs_msgs", reason="fallback/interbotix_xs_msgs is not built")


@pytest.fixture(scope="module")
def driver() -> Iterator[RobotBench]:
    from interbotix_xs_msgs.srv import RobotInfo

    from stvla_ros.nodes.drivers.widowx_driver import WidowxDriverNode

    def measure(node: DriverNode, position: np.ndarray) -> JointState:
        return wire(JointState(name=[*ROBOT.driver.arm.joints, "left_finger"], position=[*position.tolist(), 0.03]))

    def answer(asked: Any) -> Any:
        if not isinstance(asked, RobotInfo.Request):
            return object()
        mode = {"arm": "position", "gripper": "pwm"}[asked.name]
        return RobotInfo.Response(mode=mode, profile_type="time", joint_names=list(ROBOT.driver.arm.joints))

    outputs = ("wx250s/commands/joint_group", "wx250s/commands/joint_single")
    home = np.array(ROBOT.driver.home)
    with robot_bench(WidowxDriverNode, "wx250s/joint_states", measure, home, outputs, "robot:=widowx") as made:
        made.answers = answer
        yield made


@pytest.fixture
def ready(driver: RobotBench) -> Iterator[RobotBench]:
    """The arm is at home, and commands are accepted."""
    driver.begin()
    driver.tick(8)
    assert driver.node.engaged
    yield driver
    driver.bench.stop()


def sideways(robot: RobotBench, count: int = 1) -> None:
    """Commands of 3 cm at the control rate; the last one has just come."""
    for number in range(count):
        if number:
            robot.tick(PERIOD_TICKS)
        message = EndEffectorCommand(gripper=1.0)
        message.translation.y = -0.03
        robot.command(message, 0)


def verdict(robot: RobotBench) -> Any:
    return robot.bench.sent("command_verdict")[-1]


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
    ready.bench.unsubscribe()
    ready.speaks = False
    assert ready.node.on_activate(None) == TransitionCallbackReturn.SUCCESS
    sideways(ready)
    assert not verdict(ready).executed and "not started" in verdict(ready).refused
    ready.position = ready.position + [0.3, 0.0, 0.0, 0.0, 0.0, 0.0]  # somebody moved it meanwhile
    ready.speaks = True
    ready.tick(8)
    assert ready.node.engaged
    assert np.array_equal(ready.segments[-1].positions[-1], ready.segments[-1].start)
    assert ready.segments[-1].start[0] - ready.segments[0].start[0] == pytest.approx(0.3)
    sideways(ready)
    assert verdict(ready).executed


def test_a_reset_takes_the_arm_up_where_it_is(ready: RobotBench) -> None:
    ready.bench.call("~/estop")
    ready.tick(PERIOD_TICKS)
    assert ready.node.gate.inhibitors == {"estop"}
    assert not ready.bench.sent("setpoint"), "whoever moves the arm must not see it come back"
    ready.position = ready.position + [0.2, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert ready.bench.call("~/reset").success
    ready.tick(8)
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
    ready.tick(8)
    assert ready.node.engaged and not ready.node.gate.inhibitors


def test_a_command_in_another_frame_moves_nothing_and_says_so(ready: RobotBench) -> None:
    message = EndEffectorCommand(gripper=1.0)
    message.translation.y = 0.03
    message.header.frame_id = "camera"
    ready.command(message, 0)
    assert not verdict(ready).executed and "expected frame_id base_link, got 'camera'" in verdict(ready).refused
    assert not ready.node.gate.moving
