"""The simulated tasks by name, and how an environment for one is made. Importing this module starts no simulator."""

import difflib
from collections.abc import Mapping

from stvla_ros.errors import InputError
from stvla_ros.sim.environment import Environment
from stvla_ros.sim.maniskill.tasks import ZERO_DOWNLOAD_TASK
from stvla_ros.sim.simulators import SIMULATORS, Simulator
from stvla_ros.sim.task import Task


def task_names(simulator: str) -> list[str]:
    """The tasks of one simulator. :raises InputError: when it is one of another package that cannot be used."""
    return list(_tasks(simulator))


def find_task(name: str) -> Task:
    """The task of that name.

    :raises InputError: when there is none; the message lists what exists.
    """
    return _find(name)[1]


def resolve_task(name: str) -> tuple[str, str | None]:
    """The task that can run here: the one asked for or, where its files cannot be had, the one that needs no download.

    :returns: the name of the task to run, and one line that says why when it is another one.
    :raises InputError: when there is no task of that name.
    """
    simulator, task = _find(name)
    try:
        simulator.require(task)
    except InputError as error:
        return ZERO_DOWNLOAD_TASK, f"{error}; running {ZERO_DOWNLOAD_TASK} instead of {name}"
    return name, None


def make_environment(task: str, *, image_size: tuple[int, int] | None = None, render: bool = True) -> Environment:
    """Make the environment of a task.

    :param task: one of :func:`task_names`.
    :param image_size: (width, height) in pixels; None for the task's own size.
    :param render: False for no images, which is several times faster; ``rgb`` and ``depth`` then carry no picture.
    :raises InputError: for an unknown task, or when its simulator or files cannot be had.
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
        # Their own tasks would have to be imported.
        names += [f"{each}/…" for each in added]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise InputError(f"task '{name}': no such task{hint}, expected one of {', '.join(names)}")


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
