"""A goal that comes while another one runs: on a bench."""

from collections.abc import Iterator
from typing import Any

import pytest
from node_bench import bench
from rclpy.action import CancelResponse
from server_bench import Server

from stvla_ros.action import ExecuteInstruction
from stvla_ros.nodes.server.vla_server import VlaServerNode

Result = ExecuteInstruction.Result


class Log:
    """What the node's logger is told."""

    def __init__(self, server: Server) -> None:
        self.lines: list[str] = []
        server.node.get_logger = lambda: self

    def __getattr__(self, level: str) -> Any:
        return lambda line, **options: self.lines.append(f"{level}: {line}")


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with bench(VlaServerNode, "policy:=expert", *getattr(request, "param", ())) as made:
        yield Server(made)


def send(server: Server, instruction: str) -> None:
    server.goal(ExecuteInstruction.Goal(instruction=instruction))


def running(server: Server) -> str | None:
    goal = server.node._goals.current
    return None if goal is None else goal.instruction


def test_a_goal_that_comes_while_another_one_runs_is_rejected_and_the_log_says_why(server: Server) -> None:
    log = Log(server)
    send(server, "first")
    former = server.node._goals.current
    send(server, "second")
    assert server.node._goals.current is former
    assert log.lines == [
        "error: goal rejected: another goal runs, 'first'; cancel it first, or start with allow_preemption:=true"
    ]


def test_after_a_cancel_the_next_goal_is_taken(server: Server) -> None:
    send(server, "first")
    goals = server.node._goals
    assert server.bench.run(lambda: goals._on_cancel(goals.current.handle)) == CancelResponse.ACCEPT
    send(server, "second")
    assert running(server) == "second"


@pytest.mark.parametrize("server", [("allow_preemption:=true",)], indirect=True)
def test_with_allow_preemption_the_newer_goal_takes_over_and_the_log_names_both(server: Server) -> None:
    log = Log(server)
    send(server, "first")
    former = server.node._goals.current
    send(server, "second")
    assert running(server) == "second"
    assert (former.outcome, former.reason) == (Result.PREEMPTED, "a newer goal took over: second")
    assert "warning: goal 'second' takes over from 'first': allow_preemption" in log.lines
    assert former.identity.goal_id != server.node._goals.current.identity.goal_id
    assert former.identity.goal_stamp <= server.node._goals.current.identity.goal_stamp
