"""Each node is killed once: the others live on, say what is missing, and the episode goes on when it returns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_graph import LiveGraph, live_graph

from stvla_ros.msg import EpisodeState
from stvla_ros.nodes.kit.base import STATE_QOS

NODES: dict[str, dict[str, Any]] = {
    "tracker": {},
    "depth": {},
    "compositor": {},
    "vla_server": {"policy": "expert", "pacing": "lockstep", "stall_timeout": 0.0},
    "sim_bridge": {"task": "panda_pick_cube", "episodes": 1, "resend_after": 1.0, "give_up_after": 300.0},
}


class Simulation:
    def __init__(self, graph: LiveGraph) -> None:
        self.graph = graph
        self.states: list[EpisodeState] = graph.listen(EpisodeState, "episode_state", qos=STATE_QOS)
        for name in NODES:
            self.start(name)

    def start(self, name: str) -> None:
        self.graph.start(name, **NODES[name])

    def progress(self, steps: int) -> None:
        """Wait until the episode is this many steps further than now."""
        self.graph.until(lambda: self.states, f"an episode; {self.output('sim_bridge')}", 120.0)
        wanted = self.states[-1].step + steps
        self.graph.until(
            lambda: self.states[-1].step >= wanted or self.ended(), f"step {wanted}; {self.output('sim_bridge')}", 60.0
        )
        assert not self.ended(), "the episode was over before everything was tried"

    def ended(self) -> list[EpisodeState]:
        return [state for state in self.states if state.phase in (EpisodeState.SUCCEEDED, EpisodeState.FAILED)]

    def output(self, name: str) -> str:
        return self.graph.processes[name].output

    def kill(self, name: str) -> None:
        self.graph.processes[name].kill()
        self.graph.statuses.clear()

    def others_live(self, name: str) -> None:
        for other, process in self.graph.processes.items():
            assert other == name or process.alive(), f"{other}: {process.output}"


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    with live_graph(tmp_path) as graph:
        yield Simulation(graph)


@pytest.mark.slow
def test_the_episode_survives_the_death_of_every_perception_node_and_of_the_server(simulation: Simulation) -> None:
    simulation.progress(2)
    for name, witness, topic in (
        ("tracker", "compositor", "traces"),
        ("depth", "compositor", "depth"),
        ("compositor", "vla_server", "traced_depth"),
        ("vla_server", "sim_bridge", "command"),
    ):
        simulation.kill(name)
        simulation.graph.says(witness, f"topic {topic}: no message for")
        simulation.others_live(name)
        simulation.start(name)
        simulation.progress(2)
    (end,) = simulation.graph.until(simulation.ended, "the end of the episode", 60.0)
    assert end.phase == EpisodeState.SUCCEEDED, end
    for name in NODES:
        assert "Traceback" not in simulation.output(name)


@pytest.mark.slow
def test_a_new_bridge_runs_its_episode_on_the_graph_that_the_killed_one_left(simulation: Simulation) -> None:
    simulation.progress(3)
    simulation.kill("sim_bridge")
    for witness, topic in (
        ("tracker", "image"),
        ("depth", "sensor_depth"),
        ("compositor", "image"),
        ("vla_server", "expert_chunk"),
    ):
        simulation.graph.says(witness, f"topic {topic}: no message for")
    simulation.others_live("sim_bridge")
    simulation.states.clear()
    simulation.start("sim_bridge")
    (end,) = simulation.graph.until(simulation.ended, "the end of the episode", 120.0)
    assert end.phase == EpisodeState.SUCCEEDED, end
    assert end.step > 5
    for name in NODES:
        assert "Traceback" not in simulation.output(name)
