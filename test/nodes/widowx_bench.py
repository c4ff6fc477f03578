"""What the tests of a WidowX driver on the bench ask of it."""

from typing import Any

from robot_bench import RobotBench

from stvla_ros.msg import EndEffectorCommand
from stvla_ros.robots.embodiments import find_embodiment

ROBOT = find_embodiment("widowx")
PERIOD_TICKS = round(ROBOT.driver.tick_hz / ROBOT.control_hz)


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
