"""The node that gives a robot's instruction: after a stop only a person gives it again. Its action server and the
driver's word are the test's.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_graph import LiveGraph, live_graph
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from std_srvs.srv import Trigger

from stvla_ros.action import ExecuteInstruction
from stvla_ros.msg import DriverState
from stvla_ros.nodes.kit.base import STATE_QOS
from stvla_ros.nodes.kit.messages import make_header

Result = ExecuteInstruction.Result


class Robot:
    """What the session sees of a robot."""

    def __init__(self, graph: LiveGraph, folder: Path) -> None:
        self.graph, self.folder = graph, folder
        self._states = graph.node.create_publisher(DriverState, "driver_state", STATE_QOS)
        # Accepted goals run until they are ended.
        self.running: list[ServerGoalHandle] = []
        self.server = ActionServer(
            graph.node,
            ExecuteInstruction,
            "execute_instruction",
            execute_callback=lambda handle: Result(),
            handle_accepted_callback=self.running.append,
            cancel_callback=lambda handle: CancelResponse.ACCEPT,
        )
        self.start()

    def start(self) -> None:
        self.session = self.graph.start("robot_session", instruction="move about", output=str(self.folder))
        self.graph.until(lambda: self._states.get_subscription_count() >= 1, "the session")

    def say(self, phase: int, *held_by: str) -> None:
        header = make_header(self.graph.node.get_clock().now().nanoseconds, "base_link")
        self._states.publish(DriverState(header=header, phase=phase, held_by=held_by))

    def until_given(self, count: int) -> None:
        self.say(DriverState.READY)
        self.graph.until(lambda: len(self.running) == count, f"goal {count}; {self.session.output}")

    def is_not_given_again(self) -> None:
        """Though the driver is ready."""
        count = len(self.running)
        for _ in range(20):
            self.say(DriverState.READY)
            time.sleep(0.1)
        assert len(self.running) == count

    def ask(self) -> Trigger.Response:
        return self.graph.call(Trigger, "robot_session/start", Trigger.Request())


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    with live_graph(tmp_path) as graph:
        robot = Robot(graph, tmp_path / "run")
        yield robot
        robot.server.destroy()


def end(handle: ServerGoalHandle, outcome: int) -> None:
    """As the action server does."""
    handle.execute(lambda running: (running.abort(), Result(outcome=outcome, reason="the test's"))[1])


def test_the_instruction_is_given_again_after_a_stop_only_when_a_person_asks(robot: Robot) -> None:
    robot.until_given(1)
    robot.say(DriverState.HELD, "estop")
    end(robot.running[0], Result.FAULT)
    robot.graph.until(lambda: "the instruction is not given any more: estop" in robot.session.output, "the word")
    robot.is_not_given_again()
    robot.say(DriverState.HELD, "estop")
    refused = robot.ask()
    assert not refused.success and "the robot's driver is stopped: estop" in refused.message
    robot.say(DriverState.READY)
    robot.graph.insist("robot_session/start")
    robot.until_given(2)


def test_a_session_that_was_killed_does_not_give_its_instruction_again(robot: Robot) -> None:
    robot.until_given(1)
    robot.session.kill()
    robot.start()
    robot.graph.until(lambda: "not given any more: this node was started anew" in robot.session.output, "the word")
    robot.graph.insist("robot_session/start")
    robot.until_given(2)


def test_a_stop_that_was_latched_before_the_session_came_withholds_the_instruction(robot: Robot) -> None:
    robot.say(DriverState.HELD, "driver ended")
    robot.graph.until(lambda: "not given any more: driver ended" in robot.session.output, "the word")
    robot.is_not_given_again()


def test_what_only_holds_the_arm_withholds_nothing(robot: Robot) -> None:
    robot.until_given(1)
    robot.say(DriverState.HELD, "deadman")
    robot.graph.until(lambda: robot.running[0].is_cancel_requested, "the cancel")
    robot.running[0].execute(lambda handle: (handle.canceled(), Result(outcome=Result.STOPPED))[1])
    robot.until_given(2)
