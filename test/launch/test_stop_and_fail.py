"""How a graph ends, the same for `stvla sim|robot` and for `ros2 launch`. Real nodes in real processes."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from started_graph import StartedGraph

from stvla_ros.graph.specification import NodeSpec

END_TIMEOUT_S = 90
TRACKER, COMPOSITOR = NodeSpec("tracker"), NodeSpec("compositor")
READY = ("/traces", "/traced_depth")

without_launch = pytest.mark.skipif(
    find_spec("launch_ros") is None, reason="the packages launch and launch_ros come with a ROS 2 distribution"
)


@pytest.fixture(params=["supervisor", pytest.param("launch", marks=without_launch)])
def starter(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_node_that_ends_with_an_error_is_named_and_fails_the_graph(starter: str, tmp_path: Path) -> None:
    bad = NodeSpec("compositor", {"compositor": {"line_width": -3}})
    with StartedGraph(starter, [TRACKER, bad], tmp_path) as graph:
        assert graph.process.wait(END_TIMEOUT_S) == 1
        assert graph.pids() == []
        assert graph.output.count("node compositor ended with exit code 2; stopping all") == 1
        assert "parameter line_width" in graph.output
        assert "node tracker" not in graph.output


def test_a_killed_node_is_named_and_fails_the_graph(starter: str, tmp_path: Path) -> None:
    with StartedGraph(starter, [TRACKER, COMPOSITOR], tmp_path) as graph:
        graph.wait_for_topics(*READY)
        [tracker] = graph.pids("tracker")
        os.kill(tracker, signal.SIGKILL)
        assert graph.process.wait(END_TIMEOUT_S) == 1
        assert graph.pids() == []
        assert "node tracker killed by signal 9; stopping all" in graph.output


def test_the_graph_ends_well_when_the_node_that_ends_it_does(starter: str, tmp_path: Path) -> None:
    with StartedGraph(starter, [NodeSpec("tracker", ends_graph=True), COMPOSITOR], tmp_path) as graph:
        graph.wait_for_topics(*READY)
        [tracker] = graph.pids("tracker")
        os.kill(tracker, signal.SIGINT)
        assert graph.process.wait(END_TIMEOUT_S) == 0
        assert graph.pids() == []
        assert "stopping all" not in graph.output


def test_any_other_node_that_ends_fails_the_graph_even_with_exit_code_0(starter: str, tmp_path: Path) -> None:
    with StartedGraph(starter, [NodeSpec("tracker", ends_graph=True), COMPOSITOR], tmp_path) as graph:
        graph.wait_for_topics(*READY)
        [compositor] = graph.pids("compositor")
        os.kill(compositor, signal.SIGINT)
        assert graph.process.wait(END_TIMEOUT_S) == 1
        assert graph.pids() == []
        assert "node compositor ended with exit code 0; stopping all" in graph.output


def test_a_killed_node_that_may_be_started_again_is_and_the_others_go_on(starter: str, tmp_path: Path) -> None:
    nodes = [NodeSpec("tracker", on_failure="restart"), COMPOSITOR]
    with StartedGraph(starter, nodes, tmp_path) as graph:
        graph.wait_for_topics(*READY)
        [tracker], [compositor] = graph.pids("tracker"), graph.pids("compositor")
        os.kill(tracker, signal.SIGKILL)
        graph.until(lambda: graph.pids("tracker") not in ([], [tracker]), "the next tracker")
        assert graph.pids("compositor") == [compositor]
        assert "node tracker killed by signal 9; starting it again" in graph.output


def test_without_a_node_that_may_fail_the_others_go_on(starter: str, tmp_path: Path) -> None:
    nodes = [NodeSpec("tracker", on_failure="ignore"), COMPOSITOR]
    with StartedGraph(starter, nodes, tmp_path) as graph:
        graph.wait_for_topics(*READY)
        [tracker] = graph.pids("tracker")
        os.kill(tracker, signal.SIGKILL)
        graph.until(lambda: "node tracker killed by signal 9; the others continue" in graph.output, "the line")
        assert graph.process.poll() is None and len(graph.pids("compositor")) == 1


def test_bad_parameters_are_no_reason_to_start_again(tmp_path: Path) -> None:
    bad = NodeSpec("compositor", {"compositor": {"line_width": -3}}, on_failure="restart")
    with StartedGraph("supervisor", [TRACKER, bad], tmp_path) as graph:
        assert graph.process.wait(END_TIMEOUT_S) == 1
        assert graph.output.count("node compositor ended with exit code 2; stopping all") == 1


def test_ctrl_c_stops_all_and_leaves_no_process(starter: str, tmp_path: Path) -> None:
    with StartedGraph(starter, [TRACKER, COMPOSITOR], tmp_path) as graph:
        graph.wait_for_topics(*READY)
        assert len(graph.pids("tracker") + graph.pids("compositor")) == 2
        # As a terminal does it: to the whole foreground group.
        os.killpg(graph.process.pid, signal.SIGINT)
        code = graph.process.wait(END_TIMEOUT_S)
        # launch reports an interrupt as its own way of ending well or not, depending on its version.
        assert code == 130 or starter == "launch"
        assert graph.pids() == []
        assert "stopping all" not in graph.output


def test_sigterm_to_the_supervisor_stops_all_and_leaves_no_process(tmp_path: Path) -> None:
    with StartedGraph("supervisor", [TRACKER, COMPOSITOR], tmp_path) as graph:
        graph.wait_for_topics(*READY)
        graph.process.terminate()
        assert graph.process.wait(END_TIMEOUT_S) == 130
        assert graph.pids() == []


def test_a_killed_supervisor_leaves_no_process(tmp_path: Path) -> None:
    with StartedGraph("supervisor", [TRACKER, COMPOSITOR], tmp_path) as graph:
        graph.wait_for_topics(*READY)
        graph.process.kill()
        graph.wait_for_no_process()
