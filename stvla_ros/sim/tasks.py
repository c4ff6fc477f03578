"""The simulated tasks by name, and how an environment for one is made. Importing this module starts no simulator."""

import difflib

from stvla_ros.errors import InputError
from stvla_ros.sim.environment import Environment
from stvla_ros.sim.maniskill.assets import find_assets
from stvla_ros.sim.maniskill.tasks import MANISKILL_TASKS, ROBOTS_WITH_ASSETS, ZERO_DOWNLOAD_TASK
from stvla_ros.sim.simpler_env import tasks as simpler_env_tasks
from stvla_ros.sim.task import Task


def task_names() -> list[str]:
    """Every task of every backend."""
    return [*MANISKILL_TASKS, *simpler_env_tasks.simpler_env_tasks()]


def find_task(name: str) -> Task:
    """The task of that name.

    :raises InputError: when there is none; the message lists what exists.
    """
    if name in MANISKILL_TASKS:
        return MANISKILL_TASKS[name]
    if name in simpler_env_tasks.simpler_env_tasks():
        found = simpler_env_tasks.task_named(name)
        limits = (found.control_hz, found.max_steps, found.num_episodes)
        return Task(name, found.name, found.robot, *limits, has_expert=found.robot == "widowx")
    names = task_names()
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise InputError(f"task '{name}': no such task{hint}, expected one of {', '.join(names)}")


def resolve_task(name: str) -> tuple[str, str | None]:
    """The task that can run here: the one asked for or, where its files cannot be had, the one that needs no download.

    :returns: the name of the task to run, and one line that says why when it is another one.
    :raises InputError: when there is no task of that name.
    """
    task = find_task(name)
    try:
        if name not in MANISKILL_TASKS:
            simpler_env_tasks.simpler_python()
        elif task.robot in ROBOTS_WITH_ASSETS:
            find_assets()
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
    found = find_task(task)
    if task not in MANISKILL_TASKS:
        return simpler_env_tasks.make(task, image_size=image_size, render=render)
    from stvla_ros.sim.maniskill.environment import ManiSkillEnvironment  # seconds to import, and only some need it

    return ManiSkillEnvironment(found, image_size=image_size, render=render)
