"""The `stvla` command: the graph without the `launch` package."""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from stvla_ros.errors import InputError
from stvla_ros.sim.simulators import SIMULATORS
from stvla_ros.sim.tasks import task_names


@dataclass(frozen=True)
class Command:
    """
    :param module: where it is; imported when it is asked for, because some take seconds.
    :param arguments: name of its class of arguments there, whose text is its help.
    :param summary: one line for the list of commands.
    :param function: what is called with the arguments, and gives the exit code.
    """

    module: str
    arguments: str
    summary: str
    function: str = "main"


COMMANDS = {
    "sim": Command("stvla_ros.graph.run", "SimArguments", "episodes in a simulator, through the live graph"),
    "robot": Command("stvla_ros.graph.run", "RobotArguments", "the graph on a robot's camera, or on a recording"),
    "doctor": Command("stvla_ros.doctor.command", "DoctorArguments", "checks this machine, its camera and its robot"),
    "record": Command("stvla_ros.learning.demonstrations.record", "RecordArguments", "demonstrations in simulation"),
    "convert": Command("stvla_ros.learning.datasets.convert", "ConvertArguments", "a recorded bag to a data set"),
    "train": Command("stvla_ros.learning.training.run", "TrainArguments", "a policy on demonstrations"),
    "eval": Command("stvla_ros.evaluation.evaluate", "EvalArguments", "tables of how well policies do"),
    "ablate": Command("stvla_ros.evaluation.ablate", "AblateArguments", "the same with one thing varied"),
    "model create": Command("stvla_ros.policy.commands", "CreateArguments", "a new, untrained checkpoint", "create"),
    "model convert": Command(
        "stvla_ros.policy.commands", "ConversionArguments", "a published run into a checkpoint", "convert"
    ),
    "model merge": Command("stvla_ros.policy.commands", "MergeArguments", "an adapter into its checkpoint", "merge"),
    "model inspect": Command("stvla_ros.policy.commands", "InspectArguments", "what is in a checkpoint", "inspect"),
}
USAGE = "\n".join(
    [
        "usage: stvla COMMAND [--help | options]",
        *(f"       {name:<14}{command.summary}" for name, command in COMMANDS.items()),
        f"       {'tasks':<14}list the simulated tasks\n",
    ]
)


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["tasks"]:
        sys.exit(_list_tasks())
    name = next((name for name in COMMANDS if words[: len(name.split())] == name.split()), None)
    if name is None:
        sys.stderr.write(USAGE)
        sys.exit(0 if words and words[-1] in ("-h", "--help") else 2)
    import tyro

    module = importlib.import_module(COMMANDS[name].module)
    rest = words[len(name.split()) :]
    chosen = tyro.cli(getattr(module, COMMANDS[name].arguments), args=rest, prog=f"stvla {name}")
    try:
        sys.exit(getattr(module, COMMANDS[name].function)(chosen))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _list_tasks() -> int:
    """:returns: exit code: 2 when the simulator of another package cannot be used; the others' tasks are listed."""
    code = 0
    for simulator in SIMULATORS.names():
        try:
            print("\n".join(task_names(simulator)))
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    main()
