"""``~/release_gripper`` of the WidowX: whatever holds the arm, the gripper opens and the arm does not move."""

from typing import Any

from robot_bench import RobotBench
from widowx_bench import PERIOD_TICKS, sideways, ticks

GRIPPER, ARM = "wx250s/commands/joint_single", "wx250s/commands/joint_group"


def test_a_latched_widowx_opens_its_gripper_and_its_arm_is_told_nothing(ready: RobotBench) -> None:
    sideways(ready, 2)
    ready.bench.call("~/estop")
    ready.tick(2 * PERIOD_TICKS)
    assert ready.bench.call("~/release_gripper").message == "the gripper opens"
    arm: list[Any] = []
    efforts = []
    for _ in range(30):
        ready.tick(1)
        efforts += [each.cmd for each in ready.bench.sent(GRIPPER)]
        arm += ready.bench.sent(ARM)
    # The stand-in's fingers stay as they are: half open.
    assert efforts and set(efforts) == {250.0} and not arm
    assert ready.node.latch.closed


def test_a_widowx_that_was_never_taken_up_opens_its_gripper_where_it_takes_this(ready: RobotBench) -> None:
    ready.node.latch._latch.end = lambda: None  # killed
    ready.bench.start()
    asked: list[str] = []
    answers, ready.answers = ready.answers, lambda request: (asked.append(type(request).__name__), answers(request))[1]
    ready.speaks = False
    assert ready.bench.call("~/release_gripper").success
    efforts = [each.cmd for each in ticks(ready, 30, GRIPPER)]
    assert efforts[-1] == 250.0 and min(efforts) >= 0.0
    assert asked == ["RobotInfo_Request"], "it is asked, and nothing is set"
    ready.answers = answers


def test_a_widowx_whose_gripper_takes_something_else_is_not_sent_a_pwm(ready: RobotBench) -> None:
    from interbotix_xs_msgs.srv import RobotInfo

    ready.bench.call("~/estop")
    ready.tick(2 * PERIOD_TICKS)
    answers, ready.answers = ready.answers, lambda request: RobotInfo.Response(mode="current_based_position")
    answer = ready.bench.call("~/release_gripper")
    assert not answer.success and "expected xs_sdk to have it in the mode pwm" in answer.message
    assert ticks(ready, 30, GRIPPER) == []
    ready.answers = answers


def test_the_next_command_has_the_gripper_again(ready: RobotBench) -> None:
    ready.bench.call("~/release_gripper")
    ready.tick(PERIOD_TICKS)
    assert ready.node.gate.releasing
    sideways(ready)
    ready.tick(2)
    assert not ready.node.gate.releasing


def test_an_inactive_driver_says_that_it_cannot(ready: RobotBench) -> None:
    ready.node.on_deactivate(None)
    answer = ready.bench.call("~/release_gripper")
    assert not answer.success and "the driver is not active" in answer.message
