"""`stvla eval`: policies on tasks, and a table of how well they do."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from stvla_ros.errors import InputError
from stvla_ros.evaluation.episodes import EpisodeKey, EpisodeResult, Journal, official_episodes
from stvla_ros.evaluation.policies import EvaluatedPolicy, at_latencies, parse_policy, read_policies, unique
from stvla_ros.evaluation.presets import find_preset
from stvla_ros.sim.tasks import find_task, make_environment, resolve_task

INTERRUPTED = 130


@dataclass(frozen=True)
class EvalArguments:
    """Evaluate policies in simulation: a table with intervals, a video of every episode, a page of thumbnails.

    Stopped or killed, the same command goes on where it was."""

    policies: tuple[str, ...] = ()
    """Each [label=]name[:checkpoint][?key=value,…] with name expert, random or stvla, or a checkpoint folder in place
    of name:checkpoint. Keys: traces, depth (none: a constant plane), execution, buffer, variant, adaptive, tracker,
    pacing, … or the policy's own. The others are compared with the first."""
    policies_file: str = ""
    """YAML file with a list of policies (docs/evaluation.md), after those of `policies`."""
    tasks: tuple[str, ...] = ("stack_cube",)
    """Tasks, see `stvla tasks`."""
    episodes: int = 24
    """Official episodes of each task: ids 0 to N-1."""
    seeds: tuple[int, ...] = (0,)
    """0 is the benchmark itself. Another seed moves the arm by up to 1 cm before the policy begins, seeds what a policy
    draws at random and, in tasks without fixed placements, the placements."""
    preset: str = ""
    """simplerenv-widowx: the published protocol in place of tasks, episodes and until_limit; default execution and
    resize of the policies as published."""
    until_limit: bool = False
    """Run each episode to its time limit and count what holds then (the published protocol); otherwise an episode ends
    with its first success."""
    max_steps: int = 0
    """Time limit in control steps; 0 for the task's own."""
    pacing: Literal["", "lockstep", "realtime"] = ""
    """Whether simulated time waits for the policy; empty for each policy's own setting."""
    latency: str = "0"
    """Realtime: added latencies in milliseconds, e.g. 0,100,200,400. Several make a plot."""
    executions: str = ""
    """Realtime: strategies to compare, e.g. receding,chunk,ensemble; empty for each policy's own."""
    inference_latency: str = "measured"
    """Realtime: what an inference takes: its own wall time, or milliseconds, which makes the run deterministic."""
    live: bool = False
    """Through the live graph (as `stvla sim`) in place of the environment alone: slower, one episode at a time."""
    workers: int = 2
    """Episodes at a time, each in a process with one thread."""
    image_size: tuple[int, int] = (0, 0)
    """Width and height of the camera's picture in pixels; 0 0 for the task's own."""
    pictures: Literal["videos", "thumbnails", "none"] = "videos"
    """What is kept to look at."""
    output: str = "out/eval"
    """Folder for the results. An evaluation that was stopped goes on there; another one is refused."""


@dataclass(frozen=True)
class Evaluation:
    """What is to be run, checked.

    :param episodes: of each task.
    :param at_latency: by label of a policy at a latency: the line of the plot that it belongs to.
    :param notes: lines for the user.
    """

    policies: tuple[EvaluatedPolicy, ...]
    tasks: tuple[str, ...]
    episodes: Mapping[str, int]
    seeds: tuple[int, ...]
    until_limit: bool
    at_latency: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> list[EpisodeKey]:
        return official_episodes([policy.label for policy in self.policies], self.tasks, self.seeds, self.episodes)


def plan(arguments: EvalArguments) -> Evaluation:
    """:raises InputError: naming the bad argument."""
    preset = find_preset(arguments.preset) if arguments.preset else None
    policies = [parse_policy(text) for text in arguments.policies]
    if arguments.policies_file:
        policies += read_policies(Path(arguments.policies_file))
    policies = unique(policies)
    if preset:
        policies = [_as_published(policy, preset.execution, preset.resize) for policy in policies]
    if arguments.pacing:
        policies = [replace(policy, pacing=arguments.pacing) for policy in policies]
    if arguments.inference_latency != "measured":
        latency = _numbers("inference_latency", arguments.inference_latency)[0]
        policies = [replace(policy, inference_latency=latency) for policy in policies]
    policies, lines = _with_latencies(arguments, policies)
    for name, least in (("episodes", 1), ("workers", 1), ("max_steps", 0)):
        if getattr(arguments, name) < least:
            raise InputError(f"{name}: expected at least {least}, got {getattr(arguments, name)}")
    if not arguments.seeds or min(arguments.seeds) < 0 or len(set(arguments.seeds)) != len(arguments.seeds):
        raise InputError(f"seeds: expected different whole numbers from 0, got {list(arguments.seeds)}")
    if arguments.image_size != (0, 0) and min(arguments.image_size) < 32:
        raise InputError(f"image_size: expected 0 0, or at least 32 pixels each, got {list(arguments.image_size)}")
    asked = preset.tasks if preset else tuple(name for text in arguments.tasks for name in text.split(",") if name)
    resolved = [resolve_task(task) for task in asked]
    tasks = tuple(dict.fromkeys(task for task, _ in resolved))
    if not tasks:
        raise InputError("tasks: expected at least one")
    episodes = {task: preset.episodes if preset else arguments.episodes for task in tasks}
    for task, count in episodes.items():
        _check_task(task, count, policies)
    until_limit = preset.until_limit if preset else arguments.until_limit
    if arguments.live:
        from stvla_ros.evaluation.live import check_live

        check_live(policies, arguments.seeds, until_limit, arguments.image_size)
    notes = tuple(note for _, note in resolved if note)
    return Evaluation(tuple(policies), tasks, episodes, arguments.seeds, until_limit, lines, notes)


def run_evaluation(evaluation: Evaluation, arguments: EvalArguments) -> tuple[list[EpisodeResult], list[EpisodeKey]]:
    """Run what is missing. :returns: the results that were asked for, and the episodes that gave none.

    :raises InputError: when the output folder holds another evaluation.
    """
    from tqdm import tqdm

    folder = Path(arguments.output).resolve()
    common = {
        "until_limit": evaluation.until_limit,
        "max_steps": arguments.max_steps,
        "image_size": list(arguments.image_size),
        "live": arguments.live,
    }
    keys = evaluation.keys
    with Journal(folder, common, {policy.label: policy.identity() for policy in evaluation.policies}) as journal:
        missing = journal.missing(keys)
        # On one line with the figures so far, and out of the way of the workers' messages.
        with tqdm(total=len(keys), initial=len(keys) - len(missing), unit="episode", dynamic_ncols=True) as bar:

            def take(result: EpisodeResult) -> None:
                journal.add(result)
                bar.set_postfix_str(f"{result.key.policy} {result.key.task} {result.key.episode}: {_word(result)}")
                bar.update()

            def report(line: str) -> None:
                bar.write(f"error: {line}", sys.stderr)

            failed = _run(evaluation, arguments, folder, missing, take, report)
        return [journal.results[key] for key in keys if key in journal.results], failed


def _run(
    evaluation: Evaluation,
    arguments: EvalArguments,
    folder: Path,
    missing: list[EpisodeKey],
    take: Callable[[EpisodeResult], None],
    report: Callable[[str], None],
) -> list[EpisodeKey]:
    if not missing:
        return []
    if arguments.live:
        from stvla_ros.evaluation.live import run_live

        video = arguments.pictures == "videos"
        return run_live(missing, evaluation.policies, arguments.max_steps, video, folder, take, report)
    from stvla_ros.evaluation.rollout import Rules
    from stvla_ros.evaluation.runner import run_episodes
    from stvla_ros.evaluation.worker import WorkerSettings

    size = None if arguments.image_size == (0, 0) else arguments.image_size
    settings = WorkerSettings(
        {policy.label: policy for policy in evaluation.policies},
        Rules(evaluation.until_limit, arguments.max_steps),
        arguments.pictures,
        folder / "pictures",
        partial(make_environment, image_size=size),
    )
    return run_episodes(missing, settings, arguments.workers, take, report)


def write_results(evaluation: Evaluation, results: Sequence[EpisodeResult], folder: Path) -> str:
    """Tables, plots and pages into the folder. :returns: the table as Markdown."""
    from stvla_ros.evaluation.plots import plot_lines, plot_table
    from stvla_ros.evaluation.tables import MEAN, as_markdown, make_table, write_table, write_timings
    from stvla_ros.evaluation.thumbnails import write_page

    labels = [policy.label for policy in evaluation.policies]
    table = make_table(results, labels, evaluation.tasks)
    write_table(table, folder)
    write_timings(results, labels, folder)
    if evaluation.at_latency:
        task = MEAN if len(table.tasks) > 1 else table.tasks[0]
        series: dict[str, list] = {}
        for policy in evaluation.policies:
            if policy.label in table.policies:
                rate = table.row(policy.label, task).success
                series.setdefault(evaluation.at_latency[policy.label], []).append((policy.added_latency, rate))
        plot_lines(series, folder / "latency.png", f"success over latency: {task}", "added latency, ms")
    elif table.rows:
        plot_table(table, folder / "table.png", "success with 95 % intervals")
    write_page(results, folder / "pictures", folder)
    return as_markdown(table)


def main(arguments: EvalArguments) -> int:
    """:returns: the exit code: 0, 1 when episodes are missing, 130 after Ctrl-C.

    :raises InputError: for a bad argument; then nothing was run.
    """
    evaluation = plan(arguments)
    for note in evaluation.notes:
        print(f"note: {note}", flush=True)
    try:
        results, failed = run_evaluation(evaluation, arguments)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return INTERRUPTED
    folder = Path(arguments.output).resolve()
    if results:
        print(write_results(evaluation, results, folder))
    if failed:
        print(f"error: {len(failed)} episodes gave no result; the same command tries them again", file=sys.stderr)
    print(f"results in {folder}", flush=True)
    return 1 if failed else 0


def _as_published(policy: EvaluatedPolicy, execution: str, resize: str) -> EvaluatedPolicy:
    own = {"resize": resize} if policy.policy == "stvla" else {}
    default = EvaluatedPolicy("default", "expert").execution
    chosen = execution if policy.execution == default else policy.execution
    return replace(policy, execution=chosen, parameters={**own, **policy.parameters})


def _with_latencies(
    arguments: EvalArguments, policies: list[EvaluatedPolicy]
) -> tuple[list[EvaluatedPolicy], dict[str, str]]:
    """The policies at every latency and execution that was asked for, and the line of the plot of each."""
    latencies = _numbers("latency", arguments.latency)
    executions = [name for name in arguments.executions.split(",") if name]
    if latencies == [0.0] and not executions:
        return policies, {}
    if arguments.pacing != "realtime":
        raise InputError("latency, executions: expected pacing realtime; in lockstep the world waits")
    found: list[EvaluatedPolicy] = []
    lines: dict[str, str] = {}
    for policy in policies:
        for execution in executions or [policy.execution]:
            made = at_latencies([policy], [execution], latencies)
            lines |= {each.label: f"{policy.label}, {execution}" for each in made}
            found += made
    return found, lines


def _check_task(task: str, episodes: int, policies: Sequence[EvaluatedPolicy]) -> None:
    found = find_task(task)
    if episodes > found.num_episodes:
        raise InputError(f"episodes: task {task} has {found.num_episodes}, asked for {episodes}")
    if not found.has_expert and any(policy.policy == "expert" for policy in policies):
        raise InputError(f"policies: the scripted expert cannot do task {task}")


def _numbers(name: str, text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",") if part]
    except ValueError:
        values = []
    if not values or any(not 0.0 <= value < 60_000.0 for value in values) or len(set(values)) != len(values):
        raise InputError(f"{name}: expected different numbers of milliseconds from 0, like 0,100, got {text!r}")
    return values


def _word(result: EpisodeResult) -> str:
    return "success" if result.success else "failure"
