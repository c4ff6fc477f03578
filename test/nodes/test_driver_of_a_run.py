"""A driver among several: whose commands and whose stops it hears. On a bench."""

from collections.abc import Iterator
from typing import Any

import pytest
from any_message import wire
from command_goals import of_goal
from robot_bench import RobotBench
from std_msgs.msg import Bool

from stvla_ros.msg import EndEffectorCommand
from stvla_ros.nodes.drivers import estop_topic
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.messages import ns_to_time
from stvla_ros.nodes.kit.run_identity import RunIdentity

MINE, OTHER = "/runs/mine", "/runs/other"


def test_a_command_of_another_run_moves_nothing(ready: RobotBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready.node, "run", RunIdentity(ready.node, MINE))
    for run, executed in ((OTHER, False), (MINE, True)):
        message = of_goal(EndEffectorCommand(gripper=1.0, run=run), ready.goal)
        message.translation.y = -0.03
        message.header.stamp = ns_to_time(ready.clock.now_ns())
        ready.bench.receive("command", wire(message))
        verdict = ready.bench.sent("command_verdict")[-1]
        assert verdict.executed == executed, verdict.refused
        assert verdict.refused == ("" if executed else f"run: expected a command of {MINE}, got one of {OTHER}")
    assert ready.node.gate.counts["refused: run"] == 1


@pytest.fixture
def in_namespace(driver: RobotBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[RobotBench]:
    """The driver as it is in a namespace, as far as stops go."""
    monkeypatch.setattr(driver.node, "get_namespace", lambda: "/left")
    monkeypatch.setattr(driver.node._stops, "_topic", estop_topic.EstopTopic(_Declared(driver.node)))
    driver.begin()
    driver.until_engaged()
    yield driver
    driver.bench.stop()


class _Declared:
    """The node, whose parameters are declared."""

    def __init__(self, node: StvlaNode) -> None:
        self._node = node

    def parameter(self, name: str, *_: Any, **__: Any) -> Any:
        return self._node.get_parameter(name).value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


@pytest.mark.parametrize("topic", ["estop", "/estop"])
def test_a_robot_in_a_namespace_stops_by_its_own_estop_and_by_everybodys(in_namespace: RobotBench, topic: str) -> None:
    in_namespace.bench.receive(topic, Bool(data=True))
    assert in_namespace.node.latch.causes["estop"] == f"emergency stop by the topic {topic}"


def test_a_stop_button_that_falls_silent_is_not_covered_by_another_ones_word(
    in_namespace: RobotBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot, topic = in_namespace, in_namespace.node._stops._topic
    monkeypatch.setattr(topic, "_heartbeat_s", 0.5)
    robot.begin()
    robot.tick(5)
    assert "estop heartbeat" in robot.node.gate.inhibitors
    robot.bench.receive("estop", Bool())
    robot.bench.receive("/estop", Bool())
    for _ in range(60):
        robot.bench.receive("/estop", Bool())
        robot.tick(1)
    assert robot.node.latch.causes["estop"].startswith("topic estop: silent for 0.5")
