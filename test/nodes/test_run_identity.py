"""What a node makes of what another run in its ROS domain says: on benches."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from node_bench import Bench, bench
from server_bench import Server

from stvla_ros.action import ExecuteInstruction
from stvla_ros.control.safety.exclusivity import LEASE_S
from stvla_ros.msg import EpisodeState
from stvla_ros.nodes.kit import input_watch
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.episodes import FOREIGN_FRAME
from stvla_ros.nodes.kit.messages import array_to_image, make_header
from stvla_ros.nodes.recording.episode_recorder import EpisodeRecorderNode
from stvla_ros.nodes.server.vla_server import EPISODE_OVER, VlaServerNode

MINE, OTHER = "/runs/mine", "/runs/other"


class Log:
    """What the node's logger is told."""

    def __init__(self, node: StvlaNode) -> None:
        self.lines: list[str] = []
        node.get_logger = lambda: self

    def __getattr__(self, level: str) -> Any:
        return lambda line, **options: self.lines.append(f"{level}: {line}")

    def naming(self, text: str) -> list[str]:
        return [line for line in self.lines if text in line]


def state(phase: int, run: str, stamp: int = 10**18, **fields: Any) -> EpisodeState:
    return EpisodeState(header=make_header(stamp, "base"), phase=phase, run=run, **fields)


# --- the recorder ---


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Bench]:
    parameters = (f"run:={MINE}", "of_episodes:=true", f"output:={tmp_path}")
    with bench(EpisodeRecorderNode, *parameters) as made:
        yield made


def summary(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "summary.json").read_text())


def test_the_report_has_the_episodes_of_its_own_run_alone_and_names_the_other(recorder: Bench, tmp_path: Path) -> None:
    log = Log(recorder.node)
    for index, run in enumerate((OTHER, MINE, OTHER, "")):
        told = state(EpisodeState.SUCCEEDED, run, 10**18 + index, task=f"task of {run}", episode_id=index)
        recorder.receive("episode_state", told)
    recorder.receive("episode_state", state(EpisodeState.FINISHED, OTHER))
    assert [episode["episode_id"] for episode in summary(tmp_path)["episodes"]] == [1, 3]
    assert recorder.node._finish_at is None, "the other one's end is not this one's"
    assert len(log.naming(OTHER)) == 1, "once"
    assert log.naming(OTHER)[0].startswith("warning: topic episode_state: ignored, of another run")


def test_the_reports_figures_are_those_of_its_own_runs_nodes(recorder: Bench, tmp_path: Path) -> None:
    def told(name: str, run: str, value: str) -> DiagnosticArray:
        return DiagnosticArray(
            status=[DiagnosticStatus(name=name, hardware_id=run, values=[KeyValue(key="received", value=value)])]
        )

    for message in (told("/tracker", MINE, "1"), told("/tracker", OTHER, "2"), told("/depth", "", "3")):
        recorder.receive("/diagnostics", message)
    recorder.receive("episode_state", state(EpisodeState.SUCCEEDED, MINE))
    stages = summary(tmp_path)["stages"]
    assert {name: values["received"] for name, values in stages.items()} == {"tracker": 1, "depth": 3}


def test_the_video_has_no_picture_that_is_of_no_episode_of_its_run(recorder: Bench) -> None:
    def frame(stamp: int) -> tuple[Any, ...]:
        header = make_header(stamp, "camera")
        rgb, depth = np.zeros((48, 64, 3), np.uint8), np.ones((224, 224), np.float32)
        return (
            array_to_image(rgb, "rgb8", header),
            array_to_image(depth, "32FC1", header),
            array_to_image(rgb, "rgb8", header),
        )

    node, began = recorder.node, 10**18
    log = Log(node)
    recorder.receive("episode_state", state(EpisodeState.RUNNING, MINE, began))
    recorder.receive("episode_state", state(EpisodeState.RUNNING, OTHER, began + 1))
    for stamp in (began, began + 1, began + 2):
        node._worker.submit(frame(stamp))
    node._write_held()
    assert node._writer.frames == 1
    assert log.naming("a picture is of no episode of this run")


# --- the server ---


@pytest.fixture
def server() -> Iterator[Server]:
    with bench(VlaServerNode, "policy:=expert", f"run:={MINE}", "pacing:=lockstep") as made:
        yield Server(made)


@pytest.mark.parametrize(("run", "taken"), [(MINE, True), ("", True), (OTHER, False)])
def test_a_goal_of_another_run_is_rejected_and_named(server: Server, run: str, taken: bool) -> None:
    log = Log(server.node)
    server.goal(ExecuteInstruction.Goal(instruction="stack", run=run))
    assert (server.node._goals.current is not None) == taken
    assert bool(log.naming(f"goal rejected: it is of another run, {OTHER}")) == (not taken)


def test_another_runs_episodes_end_nothing_and_its_frames_are_not_answered(server: Server) -> None:
    server.goal(ExecuteInstruction.Goal(instruction="stack"))
    goal, episode, stamp = server.node._goals.current, server.node._episode, 10**18
    for phase, seconds in ((EpisodeState.RESETTING, 0), (EpisodeState.RUNNING, 1), (EpisodeState.FAILED, 2)):
        server.bench.receive("episode_state", state(phase, OTHER, stamp + seconds))
    assert server.node._episode == episode
    assert server.node._too_old(goal, stamp + 1) == FOREIGN_FRAME
    assert server.node._too_old(goal, stamp - 5) == ""
    server.bench.receive("episode_state", state(EpisodeState.FAILED, MINE, stamp))
    assert server.node._too_old(goal, stamp - 5) == EPISODE_OVER


# --- inputs of two nodes ---


class Publishers:
    """Of the only topic, by full names of nodes."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def infos(self, topic: str) -> list[Any]:
        parts = [name.rpartition("/") for name in self.names]
        return [SimpleNamespace(node_namespace=where or "/", node_name=name) for where, _, name in parts]


@pytest.fixture
def watched(server: Server, monkeypatch: pytest.MonkeyPatch) -> tuple[StvlaNode, Publishers, Log, Any]:
    publishers, clock = Publishers("/camera"), SimpleNamespace(now=100.0)
    monkeypatch.setattr(server.node, "get_publishers_info_by_topic", publishers.infos)
    monkeypatch.setattr(input_watch, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return server.node, publishers, Log(server.node), clock


def test_an_input_that_two_nodes_publish_is_named_once_and_on_diagnostics_as_long_as_it_lasts(watched: Any) -> None:
    node, publishers, log, _ = watched
    watch = node.watch_input("image")
    watch.seen()
    assert watch.check() is None
    publishers.names = ("/camera", "/left/replay")
    expected = "topic /image: expected one to publish, found 1 of /camera, 1 of /left/replay"
    assert [watch.check(), watch.check()] == [expected, expected]
    assert log.lines == [f"warning: {expected}"]
    publishers.names = ("/camera",)
    assert watch.check() is None
    assert node.watch_input("image", several=True).check() is None


def test_a_publisher_that_came_back_after_a_kill_is_not_taken_for_two(watched: Any) -> None:
    node, publishers, log, clock = watched
    watch = node.watch_input("image")
    publishers.names = ("/camera", "/camera")
    for _ in range(2):
        watch.seen()
        assert watch.check() is None
        clock.now += LEASE_S - 1.0
    clock.now += 2.0
    watch.seen()
    assert "found 2 of /camera" in watch.check()
    assert len(log.lines) == 1
