"""The original SimplerEnv and its tasks, without importing it (it runs in another interpreter)."""

import os
from collections.abc import Mapping
from pathlib import Path

from stvla_ros.errors import InputError
from stvla_ros.shared_files import shared_folders
from stvla_ros.sim.environment import Environment
from stvla_ros.sim.remote.client import WorkerEnvironment
from stvla_ros.sim.simulators import Simulator
from stvla_ros.sim.task import Task

PREFIX = "simpler/"
_REPOSITORY = Path(__file__).resolve().parents[3]
_FACTORY = "stvla_ros.sim.simpler_env.environment:create_environment"


# Control steps a second: SimplerEnv's prepackaged configurations. Limits: upstream's max_episode_steps. Counts: initial
# configurations in upstream's visual-matching scripts (placements.py says which).
def _widowx(name: str, max_steps: int) -> Task:
    return Task(PREFIX + name, name, "widowx", 5.0, max_steps, 24)


def _google(name: str, max_steps: int, num_episodes: int, has_expert: bool = False) -> Task:
    return Task(PREFIX + name, name, "google_robot", 3.0, max_steps, num_episodes, has_expert)


_DRAWERS = ("top", "middle", "bottom")

_TASKS = (
    _widowx("widowx_spoon_on_towel", 60),
    _widowx("widowx_carrot_on_plate", 60),
    _widowx("widowx_stack_cube", 60),
    _widowx("widowx_put_eggplant_in_basket", 120),
    _google("google_robot_pick_coke_can", 80, 75, has_expert=True),
    *(_google(f"google_robot_pick_{pose}_coke_can", 80, 25, True) for pose in ("horizontal", "vertical", "standing")),
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


SIMPLER_ENV_TASKS = {task.name: task for task in _TASKS}


def task_named(name: str) -> Task:
    """The task of this name, ours (``simpler/widowx_stack_cube``) or upstream's (``widowx_stack_cube``).

    :raises InputError: when there is no such task.
    """
    try:
        return SIMPLER_ENV_TASKS[PREFIX + name.removeprefix(PREFIX)]
    except KeyError:
        raise InputError(f"task {name!r}: not one of {', '.join(SIMPLER_ENV_TASKS)}") from None


class SimplerEnv(Simulator):
    """SimplerEnv in a worker process with an interpreter of its own (docs/how-to/set-up-simpler-env.md)."""

    def tasks(self) -> Mapping[str, Task]:
        return SIMPLER_ENV_TASKS

    def needs(self, task: Task) -> str:
        try:
            simpler_python()
        except InputError:
            return "the original SimplerEnv, which is not here: docs/how-to/set-up-simpler-env.md"
        return "the original SimplerEnv, which is here"

    def require(self, task: Task) -> None:
        simpler_python()

    def make(self, task: Task, image_size: tuple[int, int] | None, render: bool) -> Environment:
        """:raises stvla_ros.sim.remote.client.WorkerError: when the worker process dies or does not answer."""
        size = None if image_size is None else list(image_size)
        arguments = {"task": task.simulator_id, "image_size": size, "render": render}
        python, variables = simpler_python(), _asset_variables(os.environ)
        try:
            return WorkerEnvironment(python, _FACTORY, arguments, name=task.name, variables=variables)
        except ModuleNotFoundError as error:
            how = "docs/how-to/set-up-simpler-env.md says how to get it"
            raise InputError(f"worker {task.name}: {error} in {python}; {how}") from error


def simpler_python() -> Path:
    """SimplerEnv's interpreter: ``STVLA_SIMPLER_PYTHON``, else that of the checkout's ``.venv-simpler``.

    :raises InputError: when there is none.
    """
    chosen = os.environ.get("STVLA_SIMPLER_PYTHON")
    python = Path(chosen) if chosen else _REPOSITORY / ".venv-simpler" / "bin" / "python"
    if not os.access(python, os.X_OK) or python.is_dir():
        origin = "STVLA_SIMPLER_PYTHON" if chosen else "STVLA_SIMPLER_PYTHON is not set and the default"
        raise InputError(
            f"{origin} {python}: no such interpreter; docs/how-to/set-up-simpler-env.md says how to make SimplerEnv's"
        )
    return python


def _asset_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for the worker's environment, so that it finds assets in ``shared_folders``."""
    found = [folder for folder in shared_folders("assets/ms2_real2sim") if folder.is_dir()]
    if "MS2_REAL2SIM_ASSET_DIR" in environment or not found:
        return {}
    return {"MS2_REAL2SIM_ASSET_DIR": str(found[0])}
