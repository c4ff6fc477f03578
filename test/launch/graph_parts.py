"""Parts of a graph's description, for its tests."""

import pytest
import yaml

from stvla_ros.graph import assemble
from stvla_ros.graph.replays import Replay
from stvla_ros.graph.specification import Graph, NodeSpec


def take_for_a_recording(monkeypatch: pytest.MonkeyPatch, has_depth: bool = True) -> str:
    """A source that is not looked at, in place of a recording; its name."""
    monkeypatch.setattr(assemble, "look_at", lambda source, parameters: Replay({}, has_depth, 20.0))
    return "film.mp4"


def names_of(graph: Graph) -> list[str]:
    return [node.executable for node in graph.nodes]


def node_of(graph: Graph, executable: str) -> NodeSpec:
    [node] = [node for node in graph.nodes if node.executable == executable]
    return node


def parameters_of(graph: Graph) -> dict:
    return yaml.safe_load(graph.parameter_files[0].read_text())
