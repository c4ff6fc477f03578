"""An instruction of ten megabytes, however it comes: one line, and nothing is read of it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from made_bags import SECOND, START, SUCCEEDED, GraphBag, record_episode
from made_demonstrations import make_demonstration
from node_bench import bench
from rclpy.action import GoalResponse
from refusals import refusal
from server_bench import Server

from stvla_ros import cli
from stvla_ros.action import ExecuteInstruction
from stvla_ros.graph.arguments import RobotArguments
from stvla_ros.graph.assemble import robot_graph
from stvla_ros.learning.datasets.bags.bag_episodes import find_episodes
from stvla_ros.learning.datasets.bags.graph_messages import GraphTopics
from stvla_ros.nodes.server.vla_server import VlaServerNode

LONG = "x" * 10_000_000
SAID = "at most 1000 characters, got 10000000"


def test_a_goal_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    with bench(VlaServerNode, "policy:=random") as made:
        goals = Server(made).node._goals
        monkeypatch.setattr(made.node, "get_logger", lambda: SimpleNamespace(error=lines.append))
        assert goals._on_goal(ExecuteInstruction.Goal(instruction=LONG)) == GoalResponse.REJECT
        assert goals._on_goal(ExecuteInstruction.Goal(instruction="x" * 1000)) == GoalResponse.ACCEPT
    assert len(lines) == 1 and SAID in lines[0] and len(lines[0]) < 200


def test_the_argument_of_a_robots_graph_is_refused(tmp_path: Path) -> None:
    arguments = RobotArguments(instruction=LONG, use_fake_hardware=True, policy="random")
    assert SAID in refusal(lambda: robot_graph(arguments, tmp_path), "instruction")


def test_the_argument_of_a_conversion_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["convert", str(tmp_path), "--instruction", LONG])
    assert ended.value.code == 2
    assert SAID in capsys.readouterr().err.strip().splitlines()[-1]


def test_the_state_of_a_recorded_episode_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    with GraphBag(folder) as bag:
        record_episode(bag, [START + step * SECOND // 5 for step in range(3)])
        bag.state(START + SECOND, SUCCEEDED, 0, 3, instruction=LONG)
    line = refusal(lambda: find_episodes(folder, GraphTopics(), ""), folder)
    assert SAID in line and "episode 0, instruction" in line


def test_a_demonstration_has_none() -> None:
    assert SAID in refusal(lambda: make_demonstration(0, frames=2, instruction=LONG), "demonstration instruction")
