"""The steps of an ablation: networks, their evaluation, and the table of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stvla_ros.acting.results import EpisodeResult
from stvla_ros.acting.setup import EvaluatedPolicy
from stvla_ros.evaluation.ablation_kinds import Ablation, Setting
from stvla_ros.evaluation.ablation_networks import (
    Network,
    Trainings,
    by_arm,
    make_networks,
    record_demonstrations,
    trained_policy,
    with_corrections,
)
from stvla_ros.evaluation.plan import EvalArguments
from stvla_ros.evaluation.tables import MEAN, Beside, Table, as_markdown, corrected, make_table, write_table
from stvla_ros.sim.tasks import resolve_task

# Seed of the placements of corrections: not those of the demonstrations.
_CORRECTED_SEED = 1
PAPER = "paper (4B)"
BOUND = "at most, without memory"
_CORRECTED = (
    "p: p-value of the paired test against the first setting of the same protocol, for these networks on these "
    "placements; corrected: by Holm's method for all comparisons of the table."
)


@dataclass(frozen=True)
class AblationPlan:
    """The steps of an ablation.

    :param settings: all settings; the others are compared with the first.
    :param trainings: trainings of the networks.
    :param eval_arguments: arguments of the evaluation; its output is the folder for everything.
    :param demonstrations: number of demonstrations of each task that are recorded first; 0 for none.
    :param options: options with which a network acts while the expert corrects it, as in ``stvla eval``.
    """

    ablation: Ablation
    settings: tuple[Setting, ...]
    trainings: Trainings
    eval_arguments: EvalArguments
    demonstrations: int = 0
    options: str = ""

    @property
    def folder(self) -> Path:
        return Path(self.eval_arguments.output)

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that can run here."""
        named = [task for text in self.eval_arguments.tasks for task in text.split(",") if task]
        return list(dict.fromkeys(resolve_task(task)[0] for task in named))

    @property
    def networks(self) -> Sequence[Network]:
        """All networks, each after the one that it continues from."""
        return make_networks(self.settings, self.trainings)

    def prepare(self) -> Sequence[Network]:
        """Record now what the networks learn from, unless it exists. :returns: the networks, with that."""
        if not self.demonstrations:
            return self.networks
        paths = record_demonstrations(
            self.tasks, self.demonstrations, self.eval_arguments.workers, self.folder / "demonstrations"
        )
        data, trainings = trained_on(paths, self.folder), self.trainings
        overrides, tuning = ({**given, **data} for given in (trainings.overrides, trainings.tuning_overrides))
        return make_networks(self.settings, replace(trainings, overrides=overrides, tuning_overrides=tuning))

    def corrected(self, network: Network) -> Network:
        """The network, with the corrections that it learns from; they are recorded unless they exist."""
        return with_corrections(network, self.folder / "training", self._record_corrections)

    def _record_corrections(self, checkpoint: str, folder: Path) -> list[str]:
        policy, workers = f"{checkpoint}?{self.options}", self.eval_arguments.workers
        return record_demonstrations(
            self.tasks, self.trainings.corrections, workers, folder, policy=policy, seed=_CORRECTED_SEED
        )

    def trained(self, network: Network) -> EvaluatedPolicy | None:
        """The policy of a network, which is trained unless it was; None of one that does not act."""
        policy = trained_policy(network, self.folder / "training")
        return policy if network.acts else None

    def examine(self, networks: Sequence[Network]) -> None:
        """Look at trained networks before they act."""

    def write(self, networks: Sequence[Network], tasks: Sequence[str], results: Sequence[EpisodeResult]) -> str:
        """Write all tables and plots. :returns: the tables as Markdown."""
        return write_ablation(self, networks, tasks, results)


def trained_on(paths: Sequence[str], folder: Path) -> dict[str, Any]:
    """Changes of a training's configuration for recorded demonstrations, by dotted name.

    :param folder: folder of the ablation.
    """
    # The expert of a task may never open its gripper.
    return {"data.paths": list(paths), "data.cache": str(folder / "cache"), "data.still_gripper": True}


def write_ablation(
    plan: AblationPlan,
    networks: Sequence[Network],
    tasks: Sequence[str],
    results: Sequence[EpisodeResult],
    name: str = "ablation",
    about: str = "",
) -> str:
    """Write ``name``.md, .csv, .json and .png, with the paper's figures or the bounds beside ours.

    :param networks: networks that were evaluated.
    :param results: results of the networks.
    :param about: further line for the table and the plot's title.
    :returns: the table as Markdown.
    """
    from stvla_ros.evaluation.plots import plot_settings, plot_table

    ablation, folder = plan.ablation, plan.folder
    table, arms = _table(plan, networks, tasks, results)
    beside = _beside(ablation, arms, table)
    seeds = _by_training_seed(networks, tasks, results)
    notes = [about, ablation.scale_note, ablation.paper_note, _CORRECTED if len(arms) > 1 else "", seeds]
    notes = list(filter(None, notes))
    write_table(table, folder, name, notes, beside)
    title = f"{about or ablation.title}: {table.summary_task if len(table.tasks) == 1 else 'mean over tasks'}"
    if ablation.bounds:
        plot_table(table, folder / f"{name}.png", ablation.title, ablation.bounds, len(plan.settings))
    else:
        rates = {arm: table.row(label, table.summary_task).success for arm, label in arms.items()}
        paper = ablation.paper if table.summary_task == _paper_row(ablation, table) else {}
        plot_settings(rates, folder / f"{name}.png", title, paper)
    return as_markdown(table, notes, beside)


def _paper_row(ablation: Ablation, table: Table) -> str:
    """The task, or mean, of the table that the paper's figures are about; empty if the table has none."""
    if len(ablation.paper_tasks) > 1:
        return MEAN if set(table.tasks) == set(ablation.paper_tasks) else ""
    return next((task for task in ablation.paper_tasks if task in table.tasks), "")


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
    task = _paper_row(ablation, table)
    paper = {(arms[name], task): value for name, value in ablation.paper.items() if name in arms}
    return Beside(PAPER, paper) if paper and task else None


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
