"""The action server around policies that misbehave: those of another package in a real server process."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from installed_packages import write_package
from live_graph import LiveGraph, live_graph
from rclpy.action import ActionClient

from stvla_ros.action import ExecuteInstruction
from stvla_ros.msg import EndEffectorCommand
from stvla_ros.nodes.kit.messages import array_to_image, make_header

Result = ExecuteInstruction.Result

POLICY = '''
import threading
import time

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy.base import Answer, Policy


class Moody(Policy):
    """Does what the instruction says."""

    name = "moody"

    def load(self):
        self.threads, self.resets = set(), 0

    def reset(self):
        self.threads.add(threading.get_ident())
        self.resets += 1

    def predict(self, observation):
        self.threads.add(threading.get_ident())
        mood = observation.instruction
        if mood == "raise":
            raise RuntimeError("the network fell over")
        if mood == "refuse":
            raise InputError("policy moody: expected a better picture")
        if mood == "slow":
            time.sleep(6.0)
        if mood == "count":
            # One thread ever, told by the gripper.
            return Answer((EndEffectorAction.hold(1.0 if len(self.threads) == 1 else 0.0),))
        said = {"nothing": (), "garbage": ("left", "right")}
        return Answer(said.get(mood, (EndEffectorAction.hold(0.5),)))
'''


class Client:
    def __init__(self, graph: LiveGraph, folder: Path) -> None:
        self.graph = graph
        package = folder / "moody"
        write_package(package, "moody", {"moody_policy": POLICY}, {"policies": {"moody": "moody_policy:Moody"}})
        self.process = graph.start(
            "vla_server", package=package, policy="moody", stall_timeout=0.0, allow_preemption=True
        )
        self.commands = graph.listen(EndEffectorCommand, "command")
        self.client = ActionClient(graph.node, ExecuteInstruction, "execute_instruction")
        graph.until(self.client.server_is_ready, f"action server; {self.process.output}")
        for topic in ("image", "traced_depth"):
            graph.until(lambda: graph.node.count_subscribers(topic), topic)

    def observe(self) -> None:
        header = make_header(self.graph.node.get_clock().now().nanoseconds, "camera")
        self.graph.publish("traced_depth", array_to_image(np.ones((224, 224), np.float32), "32FC1", header))
        self.graph.publish("image", array_to_image(np.zeros((40, 40, 3), np.uint8), "rgb8", header))
        time.sleep(0.02)

    def send(self, instruction: str) -> Any:
        goal = ExecuteInstruction.Goal(instruction=instruction)
        handle = self.graph.ask(lambda: self.client.send_goal_async(goal), "answer to the goal")
        assert handle.accepted
        return handle

    def end(self, handle: Any) -> Any:
        """Observations go on until the goal ends."""
        result = self.graph.begin(handle.get_result_async)
        self.graph.until(lambda: self.observe() or result.done(), "result")
        return result.result()

    def works(self) -> None:
        """A good goal is answered with a command."""
        handle, count = self.send("please"), len(self.commands)
        self.graph.until(lambda: self.observe() or len(self.commands) > count, "a command")
        self.graph.ask(handle.cancel_goal_async, "cancel")
        self.end(handle)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("live")
    with live_graph(folder) as graph:
        client = Client(graph, folder)
        yield client
        client.client.destroy()


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        ("raise", "policy moody: RuntimeError: the network fell over"),
        ("nothing", "policy moody: ValueError: expected at least one action, got none"),
        ("garbage", "policy moody: AttributeError: "),
    ],
)
def test_a_policy_that_fails_ends_the_goal_as_a_fault_and_the_server_lives(
    instruction: str, reason: str, client: Client
) -> None:
    client.works()
    count = len(client.commands)
    ended = client.end(client.send(instruction))
    assert ended.status == GoalStatus.STATUS_ABORTED
    assert ended.result.outcome == Result.FAULT
    assert ended.result.reason.startswith(reason)
    assert len(client.commands) == count
    client.graph.says("vla_server", reason)
    client.works()


def test_an_observation_that_the_policy_refuses_is_told_and_the_goal_goes_on(client: Client) -> None:
    client.works()
    handle = client.send("refuse")
    for _ in range(10):
        client.observe()
    client.graph.says("vla_server", "policy moody: expected a better picture")
    client.graph.ask(handle.cancel_goal_async, "cancel")
    assert client.end(handle).result.outcome == Result.STOPPED


def test_a_newer_goal_is_not_answered_with_the_older_ones_action(client: Client) -> None:
    client.works()
    older = client.send("slow")
    for _ in range(5):
        client.observe()
    count = len(client.commands)
    newer = client.send("count")
    client.graph.until(lambda: client.observe() or len(client.commands) >= count + 3, "commands of the newer goal")
    assert {command.gripper for command in client.commands[count:]} == {1.0}
    client.graph.ask(newer.cancel_goal_async, "cancel")
    assert client.end(older).result.outcome == Result.PREEMPTED
    assert client.end(newer).result.outcome == Result.STOPPED


def test_observations_that_a_slow_policy_cannot_keep_up_with_are_counted(client: Client) -> None:
    client.works()
    before = client.graph.values("vla_server").get("dropped (superseded by a newer observation)", 0)
    handle = client.send("slow")
    for _ in range(20):
        client.observe()
    counted = lambda: client.graph.values("vla_server").get("dropped (superseded by a newer observation)", 0) > before  # noqa: E731
    client.graph.until(counted, "drops")
    client.graph.ask(handle.cancel_goal_async, "cancel")
    client.end(handle)
