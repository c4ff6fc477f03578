"""Finds simulated tasks by name, and makes their environments. Importing this module starts no simulator."""

import difflib
from collections.abc import Mapping

from stvla_ros.errors import InputError
from stvla_ros.missing_packages import require_packages
from stvla_ros.sim.environment import Environment
from stvla_ros.sim.maniskill.tasks import ZERO_DOWNLOAD_TASK
from stvla_ros.sim.simulators import SIMULATORS, Simulator
from stvla_ros.sim.task import Task

# Largest number of names in an error.
_MOST_NAMED = 4


def task_names(simulator: str) -> list[str]:
    """The tasks of one simulator. :raises InputError: when another package's simulator cannot be used."""
    return list(_tasks(simulator))


def find_task(name: str) -> Task:
    """The task of the given name.

    :raises InputError: when there is none; the message lists what exists.
    """
    return _find(name)[1]


def require_task(name: str) -> None:
    """Provide the task's requirements. :raises InputError: when there is no such task, or it cannot run here."""
    _require_packages(name)
    simulator, task = _find(name)
    simulator.require(task)


def _require_packages(name: str) -> None:
    require_packages(f"task {name}", _find(name)[0].packages)


def check_episodes(name: str, first: int, count: int, argument: str = "episodes") -> None:
    """
    :param count: number of episodes; 0 for no end: after the last official episode it continues with the first.
    :param argument: name of the argument in the error.
    :raises InputError: for official episodes that the task does not have.
    """
    official = find_task(name).num_episodes
    last = first + max(count, 1) - 1
    if last >= official:
        raise InputError(f"{argument}: task {name} has episodes 0 to {official - 1}, asked for up to {last}")


AUTO_TASK = "auto"
"""Value in place of a name: the usual task, or the one that needs no download."""
USUAL_TASK = "stack_cube"


def resolve_task(name: str) -> tuple[str, str | None]:
    """The task that can run here. A task that was named explicitly is never replaced.

    :param name: name of a task, or ``AUTO_TASK``.
    :returns: the name of the task to run, and one line for the user when it is not the usual one.
    :raises InputError: when there is no task of that name, or it cannot run here.
    """
    if name != AUTO_TASK:
        require_task(name)
        return name, None
    _require_packages(USUAL_TASK)  # both tasks need the same
    try:
        require_task(USUAL_TASK)
    except InputError as error:
        return ZERO_DOWNLOAD_TASK, f"{error}; running {ZERO_DOWNLOAD_TASK} instead of {USUAL_TASK}"
    return USUAL_TASK, None


def make_environment(task: str, *, image_size: tuple[int, int] | None = None, render: bool = True) -> Environment:
    """Make the environment of a task.

    :param task: one of :func:`task_names`.
    :param image_size: (width, height) in pixels; None for the task's own size.
    :param render: whether pictures are rendered; without, it is several times faster, and ``rgb`` and ``depth`` carry
        no picture.
    :raises InputError: for an unknown task, or when its simulator or files are not available.
    """
    if image_size is not None and (len(image_size) != 2 or min(image_size) < 1):
        raise InputError(f"image_size: expected (width, height) of at least 1 pixel, got {image_size}")
    simulator, found = _find(task)
    return simulator.make(found, image_size, render)


def _find(name: str) -> tuple[Simulator, Task]:
    for simulator in SIMULATORS.built_in():
        if name in (tasks := _tasks(simulator)):
            return SIMULATORS.find(simulator)(), tasks[name]
    prefix, slash, _ = name.partition("/")
    added = [each for each in SIMULATORS.names() if each not in SIMULATORS.built_in()]
    if slash and prefix in added:
        names = task_names(prefix)
        if name in names:
            return SIMULATORS.find(prefix)(), _tasks(prefix)[name]
    else:
        names = [each for simulator in SIMULATORS.built_in() for each in _tasks(simulator)]
        # Their own tasks are left out, because listing them needs an import.
        names += [f"{each}/…" for each in added]
    close = difflib.get_close_matches(name, names, n=3) or [each for each in names if name and name in each][:3]
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names[:_MOST_NAMED])}, …;"
    raise InputError(f"task {name!r}: no such task, {hint} `stvla tasks` lists all {len(names)}")


def _tasks(simulator: str) -> Mapping[str, Task]:
    tasks = SIMULATORS.find(simulator)().tasks()
    if simulator not in SIMULATORS.built_in():
        for name, task in tasks.items():
            if name != task.name or not name.startswith(f"{simulator}/"):
                raise InputError(
                    f"simulator {simulator}: expected tasks by their names, each {simulator}/TASK, got {name!r} for a "
                    f"task named {task.name!r}"
                )
    return tasks
