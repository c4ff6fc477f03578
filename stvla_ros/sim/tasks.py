"""The simulated tasks by name, and how an environment for one is made. Importing this module starts no simulator."""

import difflib
from dataclasses import dataclass

from stvla_ros.errors import InputError
from stvla_ros.sim.simpler_env.environment import tasks as simpler_env_tasks
from stvla_ros.sim.maniskill.assets import find_assets
from stvla_ros.sim.environment import Environment

ZERO_DOWNLOAD_TASK = "panda_pick_cube"
ROBOTS_WITH_ASSETS = ("widowx",)


@dataclass(frozen=True)
class Task:
    """One simulated task.

    :param name: name in this package; names of other backends start with the backend's name and a slash.
    :param simulator_id: what the simulator calls the task.
    :param robot: name of the embodiment, e.g. ``widowx``.
    :param control_hz: control steps per second of simulated time.
    :param max_steps: time limit in control steps.
    :param num_episodes: number of initial configurations; episode ids are 0 .. num_episodes-1.
    :param has_expert: whether the scripted expert can solve it.
    :param instruction: what the policy is told; empty for what the simulator says.
    :param reversed: the scene's two objects change roles: what was the goal is moved onto what was moved.
    """

    name: str
    simulator_id: str
    robot: str
    control_hz: float
    max_steps: int
    num_episodes: int
    has_expert: bool = True
    instruction: str = ""
    reversed: bool = False


# Rates, limits and episode counts are those of SimplerEnv's WidowX protocol (arXiv 2405.05941), as ManiSkill 3 has
# them. Of the eggplant's 64 configurations the protocol evaluates the first 24. The Panda task has no fixed
# configurations (an episode id is a seed) and no protocol at 5 Hz (ManiSkill runs it at 20 Hz): count, rate and limit
# follow the WidowX tasks. stack_cube_reversed is ours: the same 24 scenes as stack_cube, so that only the instruction
# tells what to do. It is no task of the benchmark.
MANISKILL_TASKS = {
    task.name: task
    for task in (
        Task("stack_cube", "StackGreenCubeOnYellowCubeBakedTexInScene-v1", "widowx", 5.0, 60, 24),
        Task(
            "stack_cube_reversed",
            "StackGreenCubeOnYellowCubeBakedTexInScene-v1",
            "widowx",
            5.0,
            60,
            24,
            instruction="stack the yellow block on the green block",
            reversed=True,
        ),
        Task("carrot_on_plate", "PutCarrotOnPlateInScene-v1", "widowx", 5.0, 60, 24),
        Task("spoon_on_towel", "PutSpoonOnTableClothInScene-v1", "widowx", 5.0, 60, 24),
        Task("eggplant_in_basket", "PutEggplantInBasketScene-v1", "widowx", 5.0, 120, 64),
        Task(
            ZERO_DOWNLOAD_TASK,
            "PickCube-v1",
            "panda",
            5.0,
            60,
            24,
            instruction="move the red cube to the green ball",
        ),
    )
}


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
