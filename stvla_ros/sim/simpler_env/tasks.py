"""The tasks of the original SimplerEnv, by name, without importing it (it lives in another interpreter)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stvla_ros.errors import InputError
from stvla_ros.sim.environment import Environment
from stvla_ros.sim.remote.client import WorkerEnvironment

PREFIX = "simpler/"
_REPOSITORY = Path(__file__).resolve().parents[3]
_FACTORY = "stvla_ros.sim.simpler_env.environment:create"


@dataclass(frozen=True)
class SimplerEnvTask:
    """What is known of one SimplerEnv task before the simulator starts.

    :param name: the upstream name, e.g. ``widowx_stack_cube``; in this package it is ``simpler/widowx_stack_cube``.
    :param robot: ``widowx`` or ``google_robot``.
    :param control_hz: control steps per second (SimplerEnv's prepackaged configurations: WidowX 5, Google robot 3).
    :param max_steps: upstream's ``max_episode_steps``.
    :param num_episodes: initial configurations in upstream's visual-matching evaluation scripts
        (`stvla_ros.sim.simpler_env.episodes` says which).
    """

    name: str
    robot: str
    control_hz: float
    max_steps: int
    num_episodes: int


def _widowx(name: str, max_steps: int) -> SimplerEnvTask:
    return SimplerEnvTask(name, "widowx", 5.0, max_steps, 24)


def _google(name: str, max_steps: int, num_episodes: int) -> SimplerEnvTask:
    return SimplerEnvTask(name, "google_robot", 3.0, max_steps, num_episodes)


_DRAWERS = ("top", "middle", "bottom")

_TASKS = (
    _widowx("widowx_spoon_on_towel", 60),
    _widowx("widowx_carrot_on_plate", 60),
    _widowx("widowx_stack_cube", 60),
    _widowx("widowx_put_eggplant_in_basket", 120),
    _google("google_robot_pick_coke_can", 80, 75),
    *(_google(f"google_robot_pick_{pose}_coke_can", 80, 25) for pose in ("horizontal", "vertical", "standing")),
    _google("google_robot_pick_object", 80, 25),
    *(_google(f"google_robot_move_near{version}", 80, 60) for version in ("", "_v0", "_v1")),
    _google("google_robot_open_drawer", 113, 27),
    *(_google(f"google_robot_open_{drawer}_drawer", 113, 9) for drawer in _DRAWERS),
    _google("google_robot_close_drawer", 113, 27),
    *(_google(f"google_robot_close_{drawer}_drawer", 113, 9) for drawer in _DRAWERS),
    _google("google_robot_place_in_closed_drawer", 200, 81),
    *(_google(f"google_robot_place_in_closed_{drawer}_drawer", 200, 27) for drawer in _DRAWERS),
    _google("google_robot_place_apple_in_closed_top_drawer", 200, 27),
)


def simpler_env_tasks() -> dict[str, SimplerEnvTask]:
    """The 25 tasks of SimplerEnv by their name in this package (``simpler/<upstream name>``)."""
    return {PREFIX + task.name: task for task in _TASKS}


def task_named(name: str) -> SimplerEnvTask:
    """The task with this name, with or without the prefix.

    :raises InputError: when there is no such task.
    """
    tasks = simpler_env_tasks()
    try:
        return tasks[PREFIX + name.removeprefix(PREFIX)]
    except KeyError:
        raise InputError(f"task {name!r}: not one of {', '.join(tasks)}") from None


def make(task: str, *, image_size: tuple[int, int] | None = None, render: bool = True) -> Environment:
    """Start the task in a worker process of SimplerEnv's own interpreter (docs/simpler_env.md).

    :param task: e.g. ``simpler/widowx_stack_cube``.
    :param image_size: (width, height) in pixels; by default as upstream (WidowX 640x480, Google robot 640x512).
    :param render: whether pictures are rendered; without, ``rgb`` and ``depth`` of the observations are empty (0 x 0).
    :raises InputError: for an unknown task or size, without an interpreter for SimplerEnv, or when assets are missing.
    :raises stvla_ros.sim.remote.client.WorkerError: when the worker process dies or does not answer.
    """
    name = task_named(task).name
    if image_size is not None and (len(image_size) != 2 or min(image_size) < 1):
        raise InputError(f"image_size: expected a positive width and height, got {image_size}")
    arguments = {"task": name, "image_size": None if image_size is None else list(image_size), "render": render}
    python, variables = simpler_python(), _asset_variables(os.environ)
    try:
        return WorkerEnvironment(python, _FACTORY, arguments, name=PREFIX + name, variables=variables)
    except ModuleNotFoundError as error:
        how = "docs/simpler_env.md says how to get it"
        raise InputError(f"worker {PREFIX}{name}: {error} in {python}; {how}") from error


def simpler_python() -> Path:
    """SimplerEnv's interpreter: ``STVLA_SIMPLER_PYTHON``, else that of the checkout's ``.venv-simpler``.

    :raises InputError: when there is none.
    """
    chosen = os.environ.get("STVLA_SIMPLER_PYTHON")
    python = Path(chosen) if chosen else _REPOSITORY / ".venv-simpler" / "bin" / "python"
    if not os.access(python, os.X_OK) or python.is_dir():
        origin = "STVLA_SIMPLER_PYTHON" if chosen else "STVLA_SIMPLER_PYTHON is not set and the default"
        raise InputError(f"{origin} {python}: no such interpreter; docs/simpler_env.md says how to make SimplerEnv's")
    return python


def _asset_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to the worker's environment so that it finds the assets shared by neighbouring checkouts."""
    shared = _REPOSITORY.parent / "shared" / "assets" / "ms2_real2sim"
    if "MS2_REAL2SIM_ASSET_DIR" in environment or not shared.is_dir():
        return {}
    return {"MS2_REAL2SIM_ASSET_DIR": str(shared)}
