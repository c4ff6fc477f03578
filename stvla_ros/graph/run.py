"""Makes a graph from arguments and runs it; returns its exit code."""

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

from stvla_ros.atomic_files import whole_file
from stvla_ros.graph.arguments import RobotArguments, SimArguments
from stvla_ros.graph.assemble import robot_graph, sim_graph
from stvla_ros.graph.closing import closing_line, lacks_video
from stvla_ros.graph.specification import Graph
from stvla_ros.middleware import check_middleware
from stvla_ros.settings import check_ranges


def describe_graph(arguments: SimArguments | RobotArguments) -> Graph:
    """The graph for these arguments; its run folder is named by the time, and the link ``latest`` leads to it.

    :raises InputError: for a bad argument; then nothing was made.
    """
    check_ranges(arguments)
    check_middleware(os.environ)
    parent = Path(arguments.output).resolve()
    run = _new_folder(parent, datetime.now())
    graph = sim_graph(arguments, run) if isinstance(arguments, SimArguments) else robot_graph(arguments, run)
    with whole_file(parent / "latest") as aside:  # it always points to a folder
        aside.symlink_to(run.name)
    return graph


def _new_folder(parent: Path, moment: datetime) -> Path:
    """A folder that is not there, named by the time; graphs that are started at the same moment have different ones."""
    while (folder := parent / moment.strftime("%Y-%m-%d_%H-%M-%S_%f")).exists():
        moment += timedelta(microseconds=1)
    return folder


def main(arguments: SimArguments | RobotArguments) -> int:
    """Run the graph to its end.

    :returns: the exit code.
    :raises InputError: for a bad argument.
    """
    from stvla_ros.graph.supervisor import run_graph

    graph = describe_graph(arguments)
    for note in graph.notes:
        print(f"note: {note}", flush=True)
    code = run_graph(graph)
    if code == 0 and lacks_video(graph):
        code = 1
        print("error: no picture came through the whole graph, so there is no video", file=sys.stderr, flush=True)
    print(closing_line(graph.run_directory), flush=True)
    return code
