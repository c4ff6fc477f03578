"""What a driver does when another node speaks where one alone may: on a bench, whose graph is the test's."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from robot_bench import RobotBench
from widowx_bench import PERIOD_TICKS, sideways, verdict

from stvla_ros.control.safety.exclusivity import LEASE_S

ARM, COMMAND, OWN = "/wx250s/commands/joint_group", "/command", "/widowx_driver"
UNNAMED = "/_NODE_NAME_UNKNOWN_"


class Graph:
    """Who publishes on what, by full names of nodes."""

    def __init__(self) -> None:
        self.publishers: dict[str, list[str]] = {ARM: [OWN], COMMAND: ["/vla_server"]}

    def infos(self, topic: str) -> list[Any]:
        parts = [name.rpartition("/") for name in self.publishers.get(topic, [])]
        return [SimpleNamespace(node_namespace=where or "/", node_name=name) for where, _, name in parts]


@pytest.fixture
def graph(driver: RobotBench, monkeypatch: pytest.MonkeyPatch) -> Graph:
    made = Graph()
    monkeypatch.setattr(driver.node, "exclusive_topics", lambda: ("wx250s/commands/joint_group",))
    monkeypatch.setattr(driver.node, "get_publishers_info_by_topic", made.infos)
    return made


@pytest.fixture
def robot(driver: RobotBench, graph: Graph) -> Iterator[RobotBench]:
    """Not engaged yet."""
    driver.begin()
    yield driver
    driver.bench.stop()


def sent_to_arm(robot: RobotBench) -> list[Any]:
    return robot.bench.sent("wx250s/commands/joint_group")


@pytest.mark.parametrize("topic", [ARM, COMMAND])
def test_a_second_publisher_stops_the_arm_for_good_and_is_named(robot: RobotBench, graph: Graph, topic: str) -> None:
    robot.until_engaged()
    sideways(robot, 4)
    robot.tick(2)
    assert robot.node.gate.moving
    graph.publishers[topic].append("/other/stranger")
    robot.tick(PERIOD_TICKS + 1)
    assert not robot.node.gate.moving
    assert robot.node.latch.causes.keys() == {"foreign publisher"}
    (detail,) = robot.node.latch.causes.values()
    assert detail.startswith(f"topic {topic}: expected ") and "1 of /other/stranger" in detail
    graph.publishers[topic].pop()
    robot.tick(30)
    sideways(robot)
    assert not verdict(robot).executed, "gone, and yet a person must look"
    assert robot.bench.call("~/reset").success
    robot.until_engaged()
    robot.new_goal()
    sideways(robot)
    assert verdict(robot).executed


@pytest.mark.parametrize("topic", [ARM, COMMAND])
def test_a_reset_beside_a_stranger_is_refused_and_names_it(robot: RobotBench, graph: Graph, topic: str) -> None:
    robot.until_engaged()
    graph.publishers[topic].append("/stranger")
    robot.tick(2)
    answer = robot.bench.call("~/reset")
    assert not answer.success and "1 of /stranger" in answer.message
    robot.tick(30)
    robot.new_goal()
    sideways(robot)
    assert not verdict(robot).executed and "foreign publisher" in robot.node.latch.causes


def test_no_arm_is_taken_up_beside_a_stranger_that_was_there_before(robot: RobotBench, graph: Graph) -> None:
    robot.bench.stop()
    graph.publishers[ARM].append("/joystick")
    robot.begin()
    robot.tick(40)
    assert not robot.node.engaged and not robot.segments
    assert "1 of /joystick" in robot.node.contention and "foreign publisher" in robot.node.latch.causes


def test_a_killed_server_that_was_started_again_holds_the_arm_until_it_is_forgotten(
    robot: RobotBench, graph: Graph
) -> None:
    robot.until_engaged()
    graph.publishers[COMMAND] = ["/vla_server", UNNAMED]
    robot.tick(2)
    assert "second publisher" in robot.node.gate.inhibitors
    graph.publishers[COMMAND] = ["/vla_server", "/vla_server"]
    sideways(robot)
    assert not verdict(robot).executed and "second publisher" in verdict(robot).refused
    robot.tick(round(0.7 * LEASE_S * robot.node.description.tick_hz))
    graph.publishers[COMMAND] = ["/vla_server"]
    robot.tick(2)
    assert not robot.node.latch.closed and not robot.node.gate.inhibitors
    robot.new_goal()
    sideways(robot)
    assert verdict(robot).executed


def test_two_servers_of_one_name_stop_the_arm_once_the_dead_would_be_forgotten(robot: RobotBench, graph: Graph) -> None:
    robot.until_engaged()
    graph.publishers[COMMAND] = ["/vla_server", "/vla_server"]
    robot.tick(round(1.1 * LEASE_S * robot.node.description.tick_hz))
    assert robot.node.latch.causes.keys() == {"foreign publisher"}


def test_a_driver_says_nothing_to_an_arm_that_another_one_of_its_name_may_move(robot: RobotBench, graph: Graph) -> None:
    robot.until_engaged()
    graph.publishers[ARM] = [OWN, OWN]
    robot.tick(PERIOD_TICKS)
    assert not sent_to_arm(robot) and not robot.node.engaged and not robot.node.latch.closed
    graph.publishers[ARM] = [OWN]
    robot.until_engaged()
    robot.tick(1)
    assert sent_to_arm(robot)
