"""The `stvla` command: the graph without the `launch` package."""

import difflib
import errno
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from stvla_ros.errors import InputError
from stvla_ros.missing_packages import missing_package


@dataclass(frozen=True)
class Command:
    """
    :param module: module of the command; imported only when needed, because some imports take seconds.
    :param arguments: name of the class of its arguments in that module, whose docstring is the help text.
    :param summary: one line for the list of commands.
    :param example: example of a first call, without `stvla`.
    :param function: name of the function that is called with the arguments and returns the exit code.
    """

    module: str
    arguments: str
    summary: str
    example: str
    function: str = "main"


_TASKS = "stvla_ros.sim.task_list"
_OPERATOR = "stvla_ros.nodes.operator"
_ECHO = "stvla_ros.nodes.echo"
_POLICY = "stvla_ros.policy.commands"
_LATENT = "stvla_ros.learning.latent.latent_commands"
# Titles under which `stvla` lists the commands.
GROUPS: dict[str, dict[str, Command]] = {
    "try it": {
        "sim": Command(
            "stvla_ros.graph.run",
            "SimArguments",
            "episodes in a simulator, through the live graph",
            "sim --task panda_pick_cube --policy expert",
        ),
        "tasks": Command(_TASKS, "TasksArguments", "the simulated tasks", "tasks --robot panda"),
    },
    "your own video": {
        "trace": Command(
            "stvla_ros.recordings.trace",
            "TraceArguments",
            "what moves in a video, a folder or a bag",
            "trace my_video.mp4 --output out/my_video",
        ),
    },
    "use a robot": {
        "doctor": Command(
            "stvla_ros.doctor.command",
            "DoctorArguments",
            "checks this machine, its camera and its robot",
            "doctor --robot widowx",
        ),
        "calibrate": Command(
            "stvla_ros.calibration.calibrate",
            "CalibrateArguments",
            "where the camera is, by a board in the gripper",
            "calibrate recorded/bag --robot widowx",
        ),
        "robot": Command(
            "stvla_ros.graph.run",
            "RobotArguments",
            "the graph on a robot's camera, or on a recording",
            "robot --robot widowx --use-fake-hardware",
        ),
        "do": Command(
            _OPERATOR, "DoArguments", "gives the robot an instruction", 'do "put the spoon on the towel"', "do"
        ),
        "stop": Command(_OPERATOR, "StopArguments", "stops every arm, until the reset", "stop", "stop"),
        "reset": Command(_OPERATOR, "ResetArguments", "releases a stopped robot", "reset", "reset"),
        "home": Command(_OPERATOR, "HomeArguments", "moves the arm to its home position", "home", "home"),
        "rest": Command(_OPERATOR, "RestArguments", "lays the arm down", "rest", "rest"),
        "topics": Command(_ECHO, "TopicsArguments", "what a running graph publishes", "topics", "topics"),
        "echo": Command(_ECHO, "EchoArguments", "the messages of a topic", "echo driver_state --once", "echo"),
    },
    "learn": {
        "record": Command(
            "stvla_ros.learning.demonstrations.record",
            "RecordArguments",
            "demonstrations in simulation",
            "record --tasks stack_cube --episodes 50",
        ),
        "convert": Command(
            "stvla_ros.learning.datasets.convert",
            "ConvertArguments",
            "a recorded bag to a data set",
            "convert out/sim/latest/bag --output out/datasets/mine",
        ),
        "train": Command(
            "stvla_ros.learning.training.run",
            "TrainArguments",
            "a policy on demonstrations",
            "train --config config/train/few_trajectories.yaml",
        ),
        "latent encode": Command(
            _LATENT,
            "EncodeArguments",
            "what happened between the pictures, as codes",
            "latent encode my_video.mp4 --checkpoint out/training/lam/checkpoint",
            "encode",
        ),
        "latent decode": Command(
            _LATENT,
            "DecodeArguments",
            "what codes make of their pictures",
            "latent decode my_video.mp4 --checkpoint out/training/lam/checkpoint --codes codes.parquet",
            "decode",
        ),
        "latent swap": Command(
            _LATENT,
            "SwapArguments",
            "one scene's codes on another's picture",
            "latent swap one.mp4 --at 2 --onto other.mp4 --checkpoint out/training/lam/checkpoint",
            "swap",
        ),
        "latent plot": Command(
            _LATENT,
            "PlotArguments",
            "a page: now, predicted, what came",
            "latent plot my_video.mp4 --checkpoint out/training/lam/checkpoint",
            "plot",
        ),
        "latent probe": Command(
            "stvla_ros.learning.latent.probe_command",
            "ProbeArguments",
            "how much of the arm's motion is in the codes",
            "latent probe out/datasets/mine --checkpoint out/training/lam/checkpoint",
            "probe",
        ),
        "model create": Command(
            _POLICY, "CreateArguments", "a new, untrained checkpoint", "model create --size small", "create"
        ),
        "model convert": Command(
            _POLICY, "ConversionArguments", "a published run into a checkpoint", "model convert --help", "convert"
        ),
        "model merge": Command(
            _POLICY,
            "MergeArguments",
            "an adapter into its checkpoint",
            "model merge --adapter out/training/lora/adapter --output out/merged",
            "merge",
        ),
        "model average": Command(
            _POLICY,
            "AverageArguments",
            "the mean of a checkpoint and what a training made of it",
            "model average --before small --after out/training/mine/checkpoint --output out/mean",
            "average",
        ),
        "model inspect": Command(
            _POLICY, "InspectArguments", "what is in a checkpoint", "model inspect --checkpoint small", "inspect"
        ),
    },
    "measure": {
        "eval": Command(
            "stvla_ros.evaluation.evaluate",
            "EvalArguments",
            "tables of how well policies do",
            "eval --policies small random --episodes 8",
        ),
        "ablate": Command(
            "stvla_ros.evaluation.ablate",
            "AblateArguments",
            "the same with one thing varied",
            "ablate buffer --policy small",
        ),
        "ask": Command(
            "stvla_ros.acting.ask",
            "AskArguments",
            "a policy that answers in words, about a picture",
            'ask "box of the plate" --image seen.png --checkpoint out/training/st4vla/checkpoint',
        ),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
# Errors that are no mistake of this package: a full or read-only disk, a place where nothing can be made.
_OF_THE_DISK = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO),
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG),
)


def usage() -> str:
    """The commands in groups, an example below each."""
    lines = ["usage: stvla COMMAND [options]        stvla COMMAND --help lists the options"]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *_listed(commands)]
    return "\n".join([*lines, "", "stvla --version prints the version.", ""])


def _listed(commands: Mapping[str, Command]) -> list[str]:
    lines = []
    for name, command in commands.items():
        lines += [f"  {name:<15}{command.summary}", f"  {'':<15}  stvla {command.example}"]
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except ModuleNotFoundError as error:
        if not (line := missing_package(error)):
            raise
        print(f"error: stvla {' '.join(words[:1])}: {line}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # The reader of the output has closed it (`| head`). The rest must not be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _run(words: list[str]) -> int:
    """:returns: the exit code. :raises InputError: for an unknown command or a bad argument."""
    if words in ([], ["-h"], ["--help"], ["help"]):
        print(usage(), end="")
        return 0 if words else 2
    if words == ["--version"]:
        print(f"stvla_ros {_version()}")
        return 0
    of_group = {name: command for name, command in COMMANDS.items() if name.split()[0] == words[0] != name}
    if of_group and words[1:] in ([], ["-h"], ["--help"]):
        print("\n".join([f"usage: stvla {words[0]} COMMAND [options]", "", *_listed(of_group)]))
        return 0 if words[1:] else 2
    name = next((name for name in COMMANDS if words[: len(name.split())] == name.split()), None)
    if name is None:
        raise InputError(_unknown(words))
    import tyro

    from stvla_ros.settings import check_ranges

    if COMMANDS[name].module == _OPERATOR:  # it loads rclpy
        from stvla_ros.middleware import check_middleware

        check_middleware(os.environ)
    module = importlib.import_module(COMMANDS[name].module)
    rest = words[len(name.split()) :]
    chosen = tyro.cli(getattr(module, COMMANDS[name].arguments), args=rest, prog=f"stvla {name}")
    check_ranges(chosen)
    try:
        return getattr(module, COMMANDS[name].function)(chosen)
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        from stvla_ros.atomic_files import why_not_written

        place = error.filename2 or error.filename or getattr(chosen, "output", "output")
        raise InputError(f"{place}: {why_not_written(error, place)}") from None


def _unknown(words: list[str]) -> str:
    """The message about words that begin no command."""
    of_first = [name for name in COMMANDS if name.split()[0] == words[0]]  # `model` with another word
    asked = " ".join(words[:2] if of_first else words[:1])
    close = [name for name in COMMANDS if name.startswith(asked) or asked.startswith(name)]
    if words[1:] or not of_first:
        close = difflib.get_close_matches(asked, COMMANDS, n=1) or close
    close = (close or of_first)[:4]
    hint = f"did you mean stvla {' or stvla '.join(close)}?" if close else "stvla alone lists them"
    return f"stvla {asked}: no such command; {hint}"


def _version() -> str:
    try:
        return version("stvla_ros")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
