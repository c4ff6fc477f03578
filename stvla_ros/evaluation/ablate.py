"""`stvla ablate`: one thing varied, everything else the same; a table and a plot."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from stvla_ros.acting.setup import EvaluatedPolicy, parse_policy
from stvla_ros.atomic_files import write_json
from stvla_ros.errors import InputError
from stvla_ros.evaluation.ablation_kinds import ABLATIONS, SCALE_NOTE, Ablation, Setting, make_settings
from stvla_ros.evaluation.evaluate import INTERRUPTED, conclude, run_evaluation, table_of, write_results
from stvla_ros.evaluation.plan import EvalArguments, Evaluation, evaluation_of, usual_inputs
from stvla_ros.evaluation.tables import Beside, Table, as_markdown, write_table
from stvla_ros.policy.training_record import resolve

PAPER = "paper (4B)"
_FINISHED = "finished.json"


@dataclass(frozen=True)
class AblateArguments:
    """Vary one thing and evaluate each setting: a table with intervals and a plot, as the paper's ablations in shape.

    Stopped or killed, the same command goes on where it was.
    """

    kind: Positional[Literal["buffer", "variant", "data", "adaptive", "depth", "tracker"]]
    """What is varied. data needs training, the others only with `retrain`."""
    policy: str
    """The policy, as in `stvla eval`: a checkpoint folder, or more. For data: the checkpoint before training."""
    settings: tuple[str, ...] = ()
    """In place of the usual ones: buffer 30 15 7, variant C B A, data all 52 0, adaptive on off, depth sensor constant,
    tracker lucas_kanade cotracker. The others are compared with the first."""
    retrain: bool = False
    """Train a model for every setting; otherwise the one policy sees the setting only when it is evaluated."""
    config: str = ""
    """Training configuration (config/train/*.yaml), for data and `retrain`."""
    tasks: tuple[str, ...] = ("stack_cube",)
    """Tasks, see `stvla tasks`."""
    episodes: int = 24
    """Official episodes of each task: ids 0 to N-1."""
    seeds: tuple[int, ...] = (0,)
    """As in `stvla eval`."""
    preset: str = ""
    """As in `stvla eval`."""
    until_limit: bool = False
    """As in `stvla eval`."""
    workers: int = 2
    """Episodes at a time, each in a process with one thread."""
    image_size: tuple[int, int] = (0, 0)
    """Width and height of the camera's picture in pixels; 0 0 for the task's own."""
    pictures: Literal["videos", "thumbnails", "none"] = "thumbnails"
    """What is kept to look at."""
    output: str = ""
    """Folder for the results; empty: out/ablation/KIND."""


def train_setting(config: Path, overrides: Mapping[str, Any], output: Path) -> Path:
    """Train a model; goes on where it was stopped.

    :param overrides: of the configuration's keys, dotted.
    :param output: folder of the run.
    :returns: the checkpoint's or the adapter's folder.
    :raises InputError: when it cannot be trained.
    """
    from stvla_ros.learning.training.config import read_config
    from stvla_ros.learning.training.run import train as run_training

    return run_training(read_config(config, {**overrides, "output": str(output)}))


def plan_ablation(arguments: AblateArguments) -> tuple[list[Setting], Path]:
    """The settings and the output folder. Nothing is trained or made yet.

    :raises InputError: naming the bad argument.
    """
    policy = parse_policy(arguments.policy, usual_inputs(arguments.preset))
    settings = make_settings(arguments.kind, policy, arguments.settings, arguments.retrain)
    if any(setting.trained for setting in settings):
        if not arguments.config:
            raise InputError(f"config: expected a training configuration for {arguments.kind}, got none")
        if not Path(arguments.config).is_file():
            raise InputError(f"config: expected a training configuration, there is no {arguments.config}")
    evaluation_of([setting.policy for setting in settings], _eval_arguments(arguments))
    return settings, Path(arguments.output or f"out/ablation/{arguments.kind}").resolve()


def main(arguments: AblateArguments) -> int:
    """:returns: the exit code: 0, 1 when episodes are missing, 130 after Ctrl-C.

    :raises InputError: for a bad argument; then nothing was run.
    """
    settings, folder = plan_ablation(arguments)
    eval_arguments = replace(_eval_arguments(arguments), output=str(folder))
    try:
        policies = [trained_policy(setting, Path(arguments.config), folder / "training") for setting in settings]
        evaluation = evaluation_of(policies, eval_arguments)
        results, failed = run_evaluation(evaluation, eval_arguments)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return INTERRUPTED
    if results:
        write_results(evaluation, results, folder)
        print(write_ablation(ABLATIONS[arguments.kind], settings, evaluation, table_of(evaluation, results), folder))
    return conclude(results, failed, folder)


def write_ablation(
    ablation: Ablation, settings: list[Setting], evaluation: Evaluation, table: Table, folder: Path
) -> str:
    """``ablation``.md, .csv, .json and .png, the paper's figures beside ours.

    :returns: the table as Markdown.
    """
    from stvla_ros.evaluation.plots import plot_settings

    by_setting = {setting.name: setting.policy.label for setting in settings if setting.policy.label in table.policies}
    task = ablation.paper_task
    paper = {(by_setting[name], task): value for name, value in ablation.paper.items() if name in by_setting}
    beside = Beside(PAPER, paper) if paper and task in table.tasks else None
    notes = [SCALE_NOTE, ablation.paper_note]
    write_table(table, folder, "ablation", notes, beside)
    rates = {name: table.row(label, table.summary_task).success for name, label in by_setting.items()}
    title = f"{ablation.title}: {table.summary_task if len(table.tasks) == 1 else 'mean over tasks'}"
    plot_settings(rates, folder / "ablation.png", title, ablation.paper if table.summary_task == task else {})
    return as_markdown(table, notes, beside)


def _eval_arguments(arguments: AblateArguments) -> EvalArguments:
    same = ("tasks", "episodes", "seeds", "preset", "until_limit", "workers", "image_size", "pictures")
    return EvalArguments(**{name: getattr(arguments, name) for name in same})


def trained_policy(setting: Setting, config: Path, folder: Path) -> EvaluatedPolicy:
    """The setting's policy; where a model is trained for it, that one, shown what it was trained with."""
    if not setting.trained:
        return setting.policy
    output = folder / setting.name
    noted = output / _FINISHED
    wanted = {"config": config.read_text(), "overrides": dict(setting.overrides)}
    finished = json.loads(noted.read_text()) if noted.is_file() else {}
    if any(finished.get(name) != value for name, value in wanted.items()):
        print(f"training for {setting.policy.label}", flush=True)
        finished = {**wanted, "checkpoint": train_setting(config, setting.overrides, output).name}
        write_json(noted, finished)
    checkpoint = str(output / finished["checkpoint"])
    return replace(setting.policy, checkpoint=checkpoint, inputs=resolve(checkpoint, {}).inputs)
