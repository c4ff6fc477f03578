"""`stvla ablate`: varies one thing, keeps everything else the same, and makes a table and a plot."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from stvla_ros.acting.results import EpisodeResult
from stvla_ros.acting.setup import parse_policy
from stvla_ros.errors import InputError
from stvla_ros.evaluation.ablation_kinds import ABLATIONS, SCALE_NOTE, Ablation, Setting, make_settings
from stvla_ros.evaluation.ablation_networks import (
    Network,
    Trainings,
    by_arm,
    make_networks,
    record_demonstrations,
    trained_policy,
)
from stvla_ros.evaluation.evaluate import INTERRUPTED, conclude, run_evaluation, write_results
from stvla_ros.evaluation.plan import EvalArguments, evaluation_of, usual_inputs
from stvla_ros.evaluation.tables import Beside, Table, as_markdown, corrected, make_table, write_table
from stvla_ros.settings import Range
from stvla_ros.shared_files import config_directory
from stvla_ros.sim.tasks import AUTO_TASK, resolve_task

PAPER = "paper (4B)"
BOUND = "at most, without memory"
_CORRECTED = (
    "p: p-value of the paired test against the first setting of the same protocol, for these networks on these "
    "placements; corrected: by Holm's method for all comparisons of the table."
)
# With `--try` all steps run with almost nothing. Statistics need at least 100 frames.
_TRIED: Mapping[str, Any] = {"size": "tiny", "batch_size": 2, "data.validation_share": 0.0}
_TRIED_DEMONSTRATIONS, _TRIED_TRAJECTORIES, _TRIED_STEPS = 6, 5, 2


@dataclass(frozen=True)
class AblateArguments:
    """Vary one thing and evaluate each setting: a table with intervals and a plot, in the form of the paper's
    ablations.

    After a stop or an interruption, the same command continues where it stopped.
    """

    kind: Positional[Literal["buffer", "variant", "data", "adaptive", "depth", "tracker", "traces"]]
    """The thing that is varied. data and traces need training, the others only with `retrain`."""
    policy: str = "stvla"
    """The policy, as in `stvla eval`: a checkpoint folder, or more. For data, the checkpoint before training. For
    traces, the parameters with which networks are run (execution=…)."""
    settings: tuple[str, ...] = ()
    """Settings in place of the usual ones: buffer 30 15 7, variant C B A, data all 52 0, adaptive on off, depth sensor
    constant, tracker lucas_kanade cotracker tapnext, traces none depth-C depth-A beside earlier. The others are
    compared with the first."""
    retrain: bool = False
    """Train a model for every setting; otherwise the same policy is evaluated with every setting."""
    config: str = ""
    """Training configuration (config/train/*.yaml), for data and `retrain`; traces has comparison.yaml."""
    demonstrations: Annotated[int | None, Range(0, 1_000_000)] = None
    """Number of the expert's demonstrations of each task that are recorded first and trained on in place of the
    configuration's data; traces 200, otherwise 0: none."""
    steps: Annotated[int, Range(0, 10**9)] = 0
    """Optimiser steps of each training in place of the configuration's; 0 for the configuration's."""
    training_seeds: Annotated[tuple[int, ...], Range(0, 2**31 - 1)] = ()
    """Seeds of training, one network of each setting for each; traces 0 1 2, otherwise the configuration's own."""
    tuned: Annotated[int | None, Range(0, 1_000_000)] = None
    """Number of trajectories of each instruction with which the first setting's networks are also trained on with every
    setting, as in the paper's protocol; traces 52, otherwise 0: no such training."""
    tuning_config: str = str(config_directory() / "train/few_trajectories.yaml")
    """Training configuration for `tuned`."""
    tuning_steps: Annotated[int, Range(0, 10**9)] = 0
    """Optimiser steps of each training for `tuned`; 0 for the configuration's."""
    tasks: tuple[str, ...] = ()
    """Tasks, see `stvla tasks`; traces has the two that need a memory and the four WidowX tasks, otherwise
    stack_cube."""
    episodes: Annotated[int, Range(1, 1_000_000)] = 24
    """Official episodes of each task: ids 0 to N-1."""
    seeds: Annotated[tuple[int, ...], Range(0, 2**31 - 1)] = ()
    """Seeds, as in `stvla eval`; traces 0 1 2, otherwise 0."""
    preset: str = ""
    """As in `stvla eval`."""
    until_limit: bool = False
    """As in `stvla eval`."""
    workers: Annotated[int, Range(1, 1000)] = 2
    """Number of episodes at a time, each in a process with one thread."""
    image_size: tuple[int, int] = (0, 0)
    """Width and height of the camera's picture in pixels; 0 0 for the task's own."""
    pictures: Literal["videos", "thumbnails", "none"] = "thumbnails"
    """Pictures and videos that are kept."""
    output: str = ""
    """Folder for the results, and for demonstrations and trainings; empty: out/ablation/KIND."""
    try_out: Annotated[bool, arg(name="try")] = False
    """Run all steps with almost nothing (a tiny network, two steps, one episode of two steps) to see that they work, in
    out/try/ablation/KIND."""


@dataclass(frozen=True)
class AblationPlan:
    """The steps of an ablation.

    :param settings: all settings; the others are compared with the first.
    :param trainings: trainings of the networks.
    :param eval_arguments: arguments of the evaluation; its output is the folder for everything.
    """

    ablation: Ablation
    settings: tuple[Setting, ...]
    trainings: Trainings
    eval_arguments: EvalArguments
    demonstrations: int = 0

    @property
    def folder(self) -> Path:
        return Path(self.eval_arguments.output)

    @property
    def networks(self) -> list[Network]:
        return make_networks(self.settings, self.trainings)


def plan_ablation(arguments: AblateArguments) -> AblationPlan:
    """Plan an ablation. Nothing is recorded, trained or written yet.

    :raises InputError: naming the bad argument.
    """
    ablation = ABLATIONS[arguments.kind]
    arguments = _with_usual(arguments, ablation)
    policy = parse_policy(arguments.policy, usual_inputs(arguments.preset))
    settings = make_settings(arguments.kind, policy, arguments.settings, arguments.retrain)
    if any(setting.trained for setting in settings):
        wanted = {"config": arguments.config, **({"tuning_config": arguments.tuning_config} if arguments.tuned else {})}
        for name, file in wanted.items():
            if not file:
                raise InputError(f"{name}: expected a training configuration for {arguments.kind}, got none")
            if not Path(file).is_file():
                raise InputError(f"{name}: expected a training configuration, there is no {file}")
    for name in ("demonstrations", "tuned", "steps", "tuning_steps"):
        if (getattr(arguments, name) or 0) < 0:
            raise InputError(f"{name}: expected 0 or more, got {getattr(arguments, name)}")
    small = {**_TRIED, "save_every": 1} if arguments.try_out else {}
    steps = {name: {"steps": n} if n else {} for name, n in _steps(arguments).items()}
    trainings = Trainings(
        Path(arguments.config),
        {**small, **steps["steps"]},
        arguments.training_seeds,
        arguments.tuned or 0,
        Path(arguments.tuning_config),
        {**small, **steps["tuning_steps"]},
    )
    output = arguments.output or f"out/{'try/' if arguments.try_out else ''}ablation/{arguments.kind}"
    eval_arguments = replace(_eval_arguments(arguments), output=str(Path(output).resolve()))
    plan = AblationPlan(ablation, tuple(settings), trainings, eval_arguments, arguments.demonstrations or 0)
    evaluation_of([network.policy for network in plan.networks], eval_arguments)
    return plan


def main(arguments: AblateArguments) -> int:
    """:returns: the exit code: 0, 1 when episodes are missing, 130 after Ctrl-C.

    :raises InputError: for a bad argument; then nothing has run.
    """
    plan = plan_ablation(arguments)
    folder, networks = plan.folder, plan.networks
    try:
        if plan.demonstrations:
            networks = make_networks(plan.settings, _with_demonstrations(plan))
        policies = [trained_policy(network, folder / "training") for network in networks]
        evaluation = evaluation_of(policies, plan.eval_arguments)
        results, failed = run_evaluation(evaluation, plan.eval_arguments)
    except KeyboardInterrupt:
        print("stopped; the same command continues where it stopped", file=sys.stderr)
        return INTERRUPTED
    if results:
        write_results(evaluation, results, folder)
        print(write_ablation(plan, networks, evaluation.tasks, results))
    return conclude(results, failed, folder)


def write_ablation(
    plan: AblationPlan, networks: Sequence[Network], tasks: Sequence[str], results: Sequence[EpisodeResult]
) -> str:
    """Write ``ablation``.md, .csv, .json and .png, with the paper's figures or the bounds beside ours.

    :param results: results of the networks.
    :returns: the table as Markdown.
    """
    from stvla_ros.evaluation.plots import plot_settings, plot_table

    ablation, folder = plan.ablation, plan.folder
    table, arms = _table(plan, networks, tasks, results)
    beside = _beside(ablation, arms, table)
    seeds = _by_training_seed(networks, tasks, results)
    notes = [SCALE_NOTE, ablation.paper_note, *([_CORRECTED] if len(arms) > 1 else []), *([seeds] if seeds else [])]
    write_table(table, folder, "ablation", notes, beside)
    title = f"{ablation.title}: {table.summary_task if len(table.tasks) == 1 else 'mean over tasks'}"
    if ablation.bounds:
        plot_table(table, folder / "ablation.png", ablation.title, ablation.bounds, len(plan.settings))
    else:
        rates = {name: table.row(label, table.summary_task).success for name, label in arms.items()}
        paper = ablation.paper if table.summary_task == ablation.paper_task else {}
        plot_settings(rates, folder / "ablation.png", title, paper)
    return as_markdown(table, notes, beside)


def _table(
    plan: AblationPlan, networks: Sequence[Network], tasks: Sequence[str], results: Sequence[EpisodeResult]
) -> tuple[Table, dict[str, str]]:
    """The table of all arms, where each protocol's arms are compared with its first; and the arms' labels by name."""
    counted = by_arm(results, networks, plan.eval_arguments.seeds)
    labels = list(dict.fromkeys(network.arm for network in networks))
    count = len(plan.settings)
    protocols = [labels[first : first + count] for first in range(0, len(labels), count)]
    rows = [row for protocol in protocols for row in make_table(counted, protocol, tasks).rows]
    table = corrected(Table(tuple(rows)))
    first, label = plan.settings[0].name, plan.settings[0].policy.label
    prefix = label.removesuffix(first)
    return table, {label.removeprefix(prefix): label for label in labels if label in table.policies}


def _beside(ablation: Ablation, arms: Mapping[str, str], table: Table) -> Beside | None:
    if ablation.bounds:
        bounds = {(label, task): 100 * bound for label in arms.values() for task, bound in ablation.bounds.items()}
        return Beside(BOUND, bounds) if set(ablation.bounds) & set(table.tasks) else None
    task = ablation.paper_task
    paper = {(arms[name], task): value for name, value in ablation.paper.items() if name in arms}
    return Beside(PAPER, paper) if paper and task in table.tasks else None


def _by_training_seed(networks: Sequence[Network], tasks: Sequence[str], results: Sequence[EpisodeResult]) -> str:
    """The success of each network of an arm, in words; empty if no arm has several networks."""
    alone = make_table(results, [network.policy.label for network in networks], tasks)
    found: dict[str, list[str]] = {}
    for network in networks:
        if network.policy.label in alone.policies:
            success = alone.row(network.policy.label, alone.summary_task).success.value
            found.setdefault(network.arm, []).append(f"{100 * success:.1f}")
    if all(len(rates) == 1 for rates in found.values()):
        return ""
    return "By training seed, %: " + "; ".join(f"{arm} {', '.join(rates)}" for arm, rates in found.items()) + "."


def _with_demonstrations(plan: AblationPlan) -> Trainings:
    """The trainings, on demonstrations that are recorded now unless they exist."""
    folder, evaluation = plan.folder, plan.eval_arguments
    tasks = [resolve_task(task)[0] for text in evaluation.tasks for task in text.split(",") if task]
    paths = record_demonstrations(tasks, plan.demonstrations, evaluation.workers, folder / "demonstrations")
    # The expert of a task may never open its gripper.
    data = {"data.paths": paths, "data.cache": str(folder / "cache"), "data.still_gripper": True}
    trainings = plan.trainings
    return replace(
        trainings,
        overrides={**trainings.overrides, **data},
        tuning_overrides={**trainings.tuning_overrides, **data},
    )


def _with_usual(arguments: AblateArguments, ablation: Ablation) -> AblateArguments:
    """The given arguments, with the usual values of this ablation for the rest."""
    usual = {"tasks": (AUTO_TASK,), "seeds": (0,), **ablation.usual}
    empty: tuple[Any, ...] = (None, "", ())
    arguments = replace(arguments, **{n: value for n, value in usual.items() if getattr(arguments, n) in empty})
    if not arguments.try_out:
        return arguments
    seeds, tuned = arguments.training_seeds[:1], _TRIED_TRAJECTORIES if arguments.tuned else 0
    asked = _TRIED_DEMONSTRATIONS if arguments.demonstrations else 0
    return replace(
        arguments, training_seeds=seeds, tuned=tuned, demonstrations=asked, episodes=1, seeds=arguments.seeds[:1]
    )


def _steps(arguments: AblateArguments) -> dict[str, int]:
    given = {name: getattr(arguments, name) for name in ("steps", "tuning_steps")}
    return dict.fromkeys(given, _TRIED_STEPS) if arguments.try_out else given


def _eval_arguments(arguments: AblateArguments) -> EvalArguments:
    same = ("tasks", "episodes", "seeds", "preset", "until_limit", "workers", "image_size", "pictures")
    given = {name: getattr(arguments, name) for name in same}
    return EvalArguments(**given, max_steps=_TRIED_STEPS if arguments.try_out else 0)
