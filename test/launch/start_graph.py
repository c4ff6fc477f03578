"""Run by the tests as a process of its own: start a graph of real nodes with the supervisor or with `launch`.

python start_graph.py supervisor|launch GRAPH.json
"""

import json
import sys
from pathlib import Path

from stvla_ros.graph.specification import Graph, NodeSpec


def main() -> int:
    starter, file = sys.argv[1:]
    nodes = tuple(NodeSpec(**spec) for spec in json.loads(Path(file).read_text()))
    folder = Path(file).parent
    parameters = {f"/{n}": {"ros__parameters": p} for spec in nodes for n, p in spec.parameters.items() if p}
    parameter_file = folder / "parameters.yaml"
    parameter_file.write_text(json.dumps(parameters))
    graph = Graph(nodes, folder, (parameter_file,) if parameters else ())
    if starter == "supervisor":
        from stvla_ros.graph.supervisor import run_graph

        return run_graph(graph)
    from launch import LaunchDescription, LaunchService
    from stvla_ros.graph.ros_launch import graph_entities

    service = LaunchService()
    service.include_launch_description(LaunchDescription(graph_entities(graph)))
    return service.run()


if __name__ == "__main__":
    sys.exit(main())
