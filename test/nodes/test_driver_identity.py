"""Whose commands a driver executes: on a bench, whose clock is the test's."""

from dataclasses import replace
from typing import Any

import pytest
from any_message import wire
from command_goals import of_goal
from robot_bench import RobotBench
from widowx_bench import sideways, verdict

from stvla_ros.msg import EndEffectorCommand
from stvla_ros.nodes.kit.messages import ns_to_time


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"robot": ""}, "robot: expected a command for 'widowx', got one for no robot"),
        ({"robot": "google_robot"}, "robot: expected a command for 'widowx', got one for robot 'google_robot'"),
        ({"goal_id": bytes(16)}, "goal: expected goal_id and goal_stamp"),
        ({"goal_stamp": 0}, "goal: expected goal_id and goal_stamp"),
    ],
)
def test_a_strangers_command_moves_nothing_and_is_refused_in_one_line(
    ready: RobotBench, change: dict[str, Any], expected: str
) -> None:
    message = of_goal(EndEffectorCommand(gripper=1.0), replace(ready.goal, **change))
    message.translation.y = -0.03
    message.header.stamp = ns_to_time(ready.clock.now_ns())
    ready.bench.receive("command", wire(message))
    assert verdict(ready).refused.startswith(expected) and "\n" not in verdict(ready).refused
    assert not verdict(ready).executed and not ready.node.gate.moving
    assert ready.node.gate.counts[f"refused: {expected.partition(':')[0]}"] == 1
    assert bytes(verdict(ready).goal_id.uuid) == bytes(message.goal_id.uuid)


def test_a_newer_goal_takes_the_arm_over_and_late_commands_of_the_one_before_move_nothing(ready: RobotBench) -> None:
    sideways(ready)
    former = ready.goal
    ready.tick(1)
    ready.new_goal()
    sideways(ready)
    assert verdict(ready).executed
    ready.goal = former
    sideways(ready)
    assert not verdict(ready).executed and "goal of this command is over" in verdict(ready).refused
