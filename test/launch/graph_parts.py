"""Parts of a graph's description, for its tests."""

import yaml

from stvla_ros.graph.specification import Graph, NodeSpec


def names_of(graph: Graph) -> list[str]:
    return [node.executable for node in graph.nodes]


def node_of(graph: Graph, executable: str) -> NodeSpec:
    [node] = [node for node in graph.nodes if node.executable == executable]
    return node


def parameters_of(graph: Graph) -> dict:
    return yaml.safe_load(graph.parameter_files[0].read_text())
