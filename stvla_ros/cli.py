"""The `stvla` command: the graph without the `launch` package."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stvla_ros.errors import InputError
from stvla_ros.graph import Graph, RobotArguments, SimArguments, robot_graph, sim_graph
from stvla_ros.sim.tasks import task_names

USAGE = """usage: stvla sim [--help | options]            episodes in a simulator
       stvla robot [--help | options]          the graph on a robot's camera, or on a recording
       stvla tasks                             list the simulated tasks
       stvla model create [--help | options]   a new, untrained policy checkpoint
"""


@dataclass(frozen=True)
class CreateArguments:
    """A new policy checkpoint with random weights, in the published SpatialVLA layout: works, but is untrained."""

    size: str = "small"
    """tiny (for tests), small (for two CPU cores), medium (for benchmarks) or 4b (the published model's shape)."""

    output: str = ""
    """Folder to make; it must not exist, or be empty. Empty: out/checkpoints/SIZE."""

    seed: int = 0
    """Of the random weights: the same seed gives the same files."""


def describe(arguments: SimArguments | RobotArguments) -> Graph:
    """The graph for these arguments; its run folder is named by the time, and the link ``latest`` leads to it.

    :raises InputError: for a bad argument; then nothing was made.
    """
    parent = Path(arguments.output).resolve()
    run = parent / datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f")
    graph = sim_graph(arguments, run) if isinstance(arguments, SimArguments) else robot_graph(arguments, run)
    # Made aside and moved, so that `latest` never points nowhere.
    aside = parent / f".latest-{os.getpid()}"
    aside.symlink_to(run.name)
    aside.replace(parent / "latest")
    return graph


def create_model(arguments: CreateArguments) -> None:
    """:raises InputError: for a bad argument; then nothing was made."""
    from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
    from stvla_ros.policy.spatialvla.create import count_parameters, create_checkpoint

    directory = Path(arguments.output or f"out/checkpoints/{arguments.size}").resolve()
    create_checkpoint(directory, arguments.size, arguments.seed)
    counts = count_parameters(SpatialVlaConfig.read(directory))
    for part, count in counts.items():
        print(f"{part:<24}{count / 1e6:10.2f} M parameters")
    stored = sum(file.stat().st_size for file in directory.iterdir())
    print(f"{'all':<24}{sum(counts.values()) / 1e6:10.2f} M parameters, {stored / 1e6:.1f} MB in {directory}")


def run(arguments: SimArguments | RobotArguments) -> int:
    """Run the graph to its end.

    :returns: the exit code.
    :raises InputError: for a bad argument.
    """
    from stvla_ros.supervisor import run_graph

    graph = describe(arguments)
    for note in graph.notes:
        print(f"note: {note}", flush=True)
    code = run_graph(graph)
    print(f"results in {graph.run_directory}", flush=True)
    return code


def main(argv: Sequence[str] | None = None) -> None:
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands = {("sim",): SimArguments, ("robot",): RobotArguments, ("model", "create"): CreateArguments}
    if arguments[:1] == ["tasks"]:
        print("\n".join(task_names()))
        return
    command = next((words for words in commands if tuple(arguments[: len(words)]) == words), None)
    if command is None:
        sys.stderr.write(USAGE)
        sys.exit(0 if arguments and arguments[-1] in ("-h", "--help") else 2)
    import tyro

    chosen = tyro.cli(commands[command], args=arguments[len(command) :], prog=f"stvla {' '.join(command)}")
    try:
        sys.exit(create_model(chosen) if isinstance(chosen, CreateArguments) else run(chosen))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
