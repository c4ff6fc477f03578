"""A goal whose caller is gone ends: nobody is left who could end it."""

import os
import signal
import time
from pathlib import Path

import pytest
from action_msgs.msg import GoalStatus, GoalStatusArray
from live_graph import live_graph
from node_bench import bench
from node_process import NodeProcess
from server_bench import Server
from test_goals_and_driver import Clock

from stvla_ros.action import ExecuteInstruction
from stvla_ros.msg import DriverState
from stvla_ros.nodes.kit.base import STATE_QOS
from stvla_ros.nodes.server import instruction_goals
from stvla_ros.nodes.server.goal_callers import GoalCallers
from stvla_ros.nodes.server.vla_server import VlaServerNode

# A process that says nothing is forgotten (config/fastdds.xml); orphan_timeout; and a busy machine.
LEASE_S, ORPHAN_S, MARGIN_S = 10.0, 2.0, 5.0
ONE, OTHER, LATER = (1,), (2,), (3,)
CLIENT = """
import rclpy
from rclpy.action import ActionClient
from stvla_ros.action import ExecuteInstruction
from stvla_ros.nodes.kit.base import set_dds_defaults

set_dds_defaults()
rclpy.init()
node = rclpy.create_node("client")
client = ActionClient(node, ExecuteInstruction, "execute_instruction")
assert client.wait_for_server(60.0)
sent = client.send_goal_async(ExecuteInstruction.Goal(instruction="stack the cubes"))
rclpy.spin_until_future_complete(node, sent, timeout_sec=60.0)
print("accepted" if sent.result().accepted else "rejected", flush=True)
rclpy.spin(node)
"""


def test_it_has_a_caller_as_long_as_one_of_those_is_there_that_there_were_at_its_begin() -> None:
    callers = GoalCallers(10.0)
    assert callers.gone_s([ONE, OTHER], 10.1) == 0.0
    assert callers.gone_s([OTHER], 12.0) == 0.0
    assert callers.gone_s([], 13.0) == 0.0 and callers.gone_s([], 15.0) == 2.0
    assert callers.gone_s([ONE], 16.0) == 0.0, "it was only not heard for a while"


def test_who_comes_after_its_begin_is_no_caller() -> None:
    callers = GoalCallers(10.0)
    assert callers.gone_s([], 10.1) == 0.0, "its client is not discovered yet"
    assert callers.gone_s([ONE], 10.8) == 0.0
    assert callers.gone_s([ONE, LATER], 12.0) == 0.0
    assert callers.gone_s([LATER], 13.0) == 0.0 and callers.gone_s([LATER], 14.0) == 1.0


def test_a_caller_that_is_discovered_late_is_one() -> None:
    callers = GoalCallers(10.0)
    assert callers.gone_s([], 11.5) == 0.0
    assert callers.gone_s([ONE], 13.0) == 0.0
    assert callers.gone_s([LATER], 14.0) == 0.0 and callers.gone_s([LATER], 16.0) == 2.0


def test_a_server_that_stood_still_counts_from_its_next_look() -> None:
    callers = GoalCallers(10.0)
    callers.gone_s([ONE], 10.1)
    assert callers.gone_s([], 60.0) == 0.0


@pytest.mark.parametrize(("timeout_s", "ends"), [("2.0", True), ("0.0", False)])
def test_the_goal_ends_once_its_caller_is_gone_for_orphan_timeout(
    monkeypatch: pytest.MonkeyPatch, timeout_s: str, ends: bool
) -> None:
    clock = Clock()
    monkeypatch.setattr(instruction_goals, "time", clock)
    with bench(VlaServerNode, "policy:=expert", "stall_timeout:=0.0", f"orphan_timeout:={timeout_s}") as made:
        server = Server(made)

        def runs_after(seconds: float) -> bool:
            clock.seconds += seconds
            server.bench.run(server.node._goals._watch)
            return server.node._goals.current is not None

        server.goal(ExecuteInstruction.Goal(instruction="stack the cubes"))
        goal = server.node._goals.current
        assert runs_after(0.1) and runs_after(60.0)
        server.clients = {LATER}
        assert runs_after(0.1) and runs_after(1.9)
        assert runs_after(0.2) != ends
        told = "the caller of this goal is gone: none of the clients of its beginning was seen for 2 s"
        assert goal.reason == (f"{told} (orphan_timeout)" if ends else "")


def test_a_client_that_ends_without_a_cancel_ends_its_goal_and_the_server_says_why(tmp_path: Path) -> None:
    program = tmp_path / "client.py"
    program.write_text(CLIENT)
    with live_graph(tmp_path) as graph:
        server = graph.start("vla_server", policy="expert", stall_timeout=0.0, orphan_timeout=0.5)
        client = NodeProcess("client", tmp_path, program=program)
        graph.until(lambda: "accepted" in client.output, f"the goal; {client.output} {server.output}")
        assert "caller" not in server.output
        client.interrupt()
        graph.until(lambda: "because: the caller of this goal is gone" in server.output, "the end of the goal")


@pytest.mark.slow
@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_the_goal_of_a_session_that_is_killed_or_frozen_ends_with_the_session(tmp_path: Path, fault: int) -> None:
    with live_graph(tmp_path) as graph:
        states = graph.node.create_publisher(DriverState, "driver_state", STATE_QOS)
        server = graph.start("vla_server", policy="expert", stall_timeout=0.0)
        given = {"instruction": "move about", "output": str(tmp_path / "run")}
        session = graph.start("robot_session", **given)
        accepted = graph.listen(GoalStatusArray, "execute_instruction/_action/status")

        def runs() -> bool:
            states.publish(DriverState(phase=DriverState.READY))
            time.sleep(0.1)
            return bool(accepted) and accepted[-1].status_list[-1].status == GoalStatus.STATUS_EXECUTING

        graph.until(runs, f"the goal; {session.output}")
        time.sleep(2.0)
        began = time.monotonic()
        os.kill(session.pid, fault)
        graph.until(lambda: "because: the caller of this goal is gone" in server.output, "the end of the goal")
        assert time.monotonic() - began < LEASE_S + ORPHAN_S + MARGIN_S
        if fault == signal.SIGKILL:
            session = graph.start("robot_session", **given)
        else:
            os.kill(session.pid, signal.SIGCONT)
        withheld = "the instruction is not given any more: this node "
        graph.until(lambda: withheld in session.output, f"the word; {session.output}")
        graph.insist("/robot_session/start")
        graph.until(runs, f"the goal anew; {session.output}")
