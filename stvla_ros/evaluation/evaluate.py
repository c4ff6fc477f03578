"""`stvla eval`: evaluates policies on tasks, and makes a table of their success."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.evaluation.journal import Journal
from stvla_ros.evaluation.plan import EvalArguments, Evaluation, plan_evaluation
from stvla_ros.evaluation.tables import MEAN, Table, as_markdown, make_table, write_table, write_timings
from stvla_ros.progress import told_until_first
from stvla_ros.sim.environment import Environment
from stvla_ros.sim.tasks import make_environment

INTERRUPTED = 130


def run_evaluation(
    evaluation: Evaluation, arguments: EvalArguments, make: Callable[..., Environment] = make_environment
) -> tuple[list[EpisodeResult], list[EpisodeKey]]:
    """Run the missing episodes.

    :param make: function that makes the environments, see ``WorkerSettings``.
    :returns: the requested results, and the episodes without a result.
    :raises InputError: when the output folder holds another evaluation.
    """
    from tqdm import tqdm

    for note in evaluation.notes:
        print(f"note: {note}", flush=True)
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
        # On one line with the figures so far, below the workers' messages.
        with (
            tqdm(total=len(keys), initial=len(keys) - len(missing), unit="episode", dynamic_ncols=True) as bar,
            told_until_first(bar, "starting the simulator"),
        ):

            def take(result: EpisodeResult) -> None:
                journal.add(result)
                bar.set_postfix_str(f"{result.key.policy} {result.key.task} {result.key.episode}: {_word(result)}")
                bar.update()

            def report(line: str) -> None:
                bar.write(f"error: {line}", sys.stderr)

            failed = _run(evaluation, arguments, make, folder, missing, take, report)
        return [journal.results[key] for key in keys if key in journal.results], failed


def _run(
    evaluation: Evaluation,
    arguments: EvalArguments,
    make: Callable[..., Environment],
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
    from stvla_ros.acting.episode import Rules
    from stvla_ros.evaluation.episode_worker import WorkerSettings
    from stvla_ros.evaluation.runner import run_episodes

    size = None if arguments.image_size == (0, 0) else arguments.image_size
    settings = WorkerSettings(
        {policy.label: policy for policy in evaluation.policies},
        Rules(evaluation.until_limit, arguments.max_steps),
        arguments.pictures,
        folder / "pictures",
        partial(make, image_size=size),
    )
    return run_episodes(missing, settings, arguments.workers, take, report)


def table_of(evaluation: Evaluation, results: Sequence[EpisodeResult]) -> Table:
    return make_table(results, [policy.label for policy in evaluation.policies], evaluation.tasks)


def write_results(evaluation: Evaluation, results: Sequence[EpisodeResult], folder: Path) -> None:
    """Write tables, plots and pages into the folder."""
    from stvla_ros.evaluation.plots import plot_table
    from stvla_ros.evaluation.thumbnails import write_page

    table = table_of(evaluation, results)
    write_table(table, folder)
    write_timings(results, table.policies, folder)
    if evaluation.at_latency:
        _plot_latency(evaluation, table, folder / "latency.png")
    else:
        plot_table(table, folder / "table.png", "success with 95 % intervals")
    if (folder / "pictures").is_dir():
        write_page(results, folder / "pictures", folder)


def _plot_latency(evaluation: Evaluation, table: Table, path: Path) -> None:
    from stvla_ros.evaluation.plots import plot_lines

    task = table.summary_task
    series: dict[str, list] = {}
    for policy in evaluation.policies:
        if policy.label in table.policies:
            rate = table.row(policy.label, task).success
            series.setdefault(evaluation.at_latency[policy.label], []).append((policy.added_latency, rate))
    what = "mean over tasks" if task == MEAN else task
    plot_lines(series, path, f"success over latency, {what}", "added latency, ms")


def conclude(results: Sequence[EpisodeResult], failed: Sequence[EpisodeKey], folder: Path) -> int:
    """Print the conclusion. :returns: the exit code."""
    if failed:
        print(f"error: {len(failed)} episodes gave no result; the same command tries them again", file=sys.stderr)
    print(f"results in {folder}" if results else "no results", flush=True)
    return 1 if failed else 0


def main(arguments: EvalArguments) -> int:
    """:returns: the exit code: 0, 1 when episodes are missing, 130 after Ctrl-C.

    :raises InputError: for a bad argument; then nothing has run.
    """
    evaluation = plan_evaluation(arguments)
    folder = Path(arguments.output).resolve()
    try:
        results, failed = run_evaluation(evaluation, arguments)
    except KeyboardInterrupt:
        print("stopped; the same command continues where it stopped", file=sys.stderr)
        return INTERRUPTED
    if results:
        write_results(evaluation, results, folder)
        print(as_markdown(table_of(evaluation, results)))
    return conclude(results, failed, folder)


def _word(result: EpisodeResult) -> str:
    return "success" if result.success else "failure"
