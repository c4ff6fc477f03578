"""Runs episodes in worker processes and passes on their results."""

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.evaluation.episode_worker import WorkerSettings, work

# Number of workers that may die one after the other without a result in between: more attempts would not help.
MOST_DEATHS = 3
STOP_TIMEOUT_S = 10.0


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    busy_with: EpisodeKey | None = None
    task: str = ""


def run_episodes(
    keys: Sequence[EpisodeKey],
    settings: WorkerSettings,
    workers: int,
    take: Callable[[EpisodeResult], None],
    report: Callable[[str], None],
) -> list[EpisodeKey]:
    """Run the episodes, as many at a time as there are workers.

    A worker stays with its task as long as the task has episodes left. A worker that dies is reported and replaced; its
    episode counts as failed to run, and all other results are kept.

    :param take: function that is called with every result at once.
    :param report: function that is called with one line for every episode without a result.
    :returns: the episodes without a result.
    """
    waiting = list(keys)
    failed: list[EpisodeKey] = []
    context = multiprocessing.get_context("spawn")
    active: list[_Worker] = []
    deaths = 0
    try:
        while waiting or active:
            while waiting and len(active) < workers and deaths < MOST_DEATHS:
                active.append(_start(context, settings))
                _give(active[-1], waiting)
            if not active:
                break
            # A dead worker's connection is ready, too, and at its end.
            ready = wait([worker.connection for worker in active])
            for worker in [worker for worker in active if worker.connection in ready]:
                try:
                    answer = worker.connection.recv()
                except (EOFError, OSError):
                    deaths += 1
                    active.remove(worker)
                    failed.append(worker.busy_with)
                    report(f"{_name(worker.busy_with)}: {_how_it_ended(worker)}")
                    continue
                if isinstance(answer, EpisodeResult):
                    deaths = 0
                    take(answer)
                else:
                    failed.append(worker.busy_with)
                    report(answer.message)
                    if answer.of_policy:
                        failed += [key for key in waiting if key.policy == worker.busy_with.policy]
                        waiting = [key for key in waiting if key.policy != worker.busy_with.policy]
                if not _give(worker, waiting):
                    active.remove(worker)
                    _stop(worker)
    finally:
        # Workers are left only after an exception (Ctrl-C).
        for worker in active:
            worker.process.terminate()
        for worker in active:
            worker.process.join(STOP_TIMEOUT_S)
    if waiting:
        report(f"{len(waiting)} episodes were not begun: {MOST_DEATHS} workers died one after the other")
    return [*failed, *waiting]


def _start(context: multiprocessing.context.SpawnContext, settings: WorkerSettings) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, settings), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker, waiting: list[EpisodeKey]) -> bool:
    """Give the worker its next episode, if there is one, preferably of its own task."""
    if not waiting:
        return False
    index = next((i for i, key in enumerate(waiting) if key.task == worker.task), 0)
    worker.busy_with = waiting.pop(index)
    worker.task = worker.busy_with.task
    try:
        worker.connection.send(worker.busy_with)
    except OSError:
        pass  # it has died; reading from it will show that
    return True


def _stop(worker: _Worker) -> None:
    try:
        worker.connection.send(None)
    except OSError:
        pass
    worker.process.join(STOP_TIMEOUT_S)
    if worker.process.is_alive():
        worker.process.kill()


def _how_it_ended(worker: _Worker) -> str:
    worker.process.join(STOP_TIMEOUT_S)
    code = worker.process.exitcode
    return f"the worker was killed by signal {-code}" if code and code < 0 else f"the worker ended with code {code}"


def _name(key: EpisodeKey) -> str:
    return f"{key.policy} on {key.task}, seed {key.seed}, episode {key.episode}"
