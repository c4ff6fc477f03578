"""What the tests of a WidowX driver on the bench ask of it."""

from typing import Any

import numpy as np
from any_message import wire
from robot_bench import RobotBench
from sensor_msgs.msg import JointState

from stvla_ros.msg import EndEffectorCommand
from stvla_ros.robots.embodiments import find_embodiment

ROBOT = find_embodiment("widowx")
PERIOD_TICKS = round(ROBOT.driver.tick_hz / ROBOT.control_hz)
STATES_TOPIC = "wx250s/joint_states"
NAMES = (*ROBOT.driver.arm.joints, "left_finger")


def joint_states(position: np.ndarray, effort: list[float] | None = None, stamp: Any = None) -> JointState:
    """:param effort: (6,) mA."""
    message = JointState(name=list(NAMES), position=[*position.tolist(), 0.03])
    message.effort = [] if effort is None else [*effort, 0.0]
    if stamp is not None:
        message.header.stamp = stamp
    return wire(message)


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


def ticks(robot: RobotBench, count: int, topic: str) -> list[Any]:
    """What was sent on a topic."""
    sent = []
    for _ in range(count):
        robot.tick(1)
        sent += robot.bench.sent(topic)
    return sent
