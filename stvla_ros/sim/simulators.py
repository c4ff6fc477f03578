"""The interface of a simulator, and the registry of simulators by name."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from stvla_ros.plugins import Registry, subclass_of
from stvla_ros.sim.environment import Environment
from stvla_ros.sim.task import Task


class Simulator(ABC):
    """One simulator: its tasks, and a method that makes an environment for one. The class takes no arguments.

    Its module is imported to look up a task. Imports that take seconds (the simulator itself) belong into :meth:`make`.
    """

    packages: tuple[str, ...] = ()
    """Modules of the Python packages that :meth:`make` imports, looked for before anything is started."""

    @abstractmethod
    def tasks(self) -> Mapping[str, Task]:
        """The simulator's tasks by name. Names of another package's tasks have the form ``SIMULATOR/TASK``."""

    def needs(self, task: Task) -> str:
        """The task's requirements beside this package, and whether they are here, in a few words. Uses no network."""
        return "see its package"

    def require(self, task: Task) -> None:
        """Provide the task's requirements, downloading them if the simulator can. By default nothing is needed.

        :raises InputError: saying what is not available, and how to get it.
        """

    @abstractmethod
    def make(self, task: Task, image_size: tuple[int, int] | None, render: bool) -> Environment:
        """
        :param task: one of :meth:`tasks`.
        :param image_size: (width, height) in pixels; None for the task's own.
        :param render: whether pictures are rendered; without, ``rgb`` and ``depth`` of the observations are empty (0 x
            0).
        :raises InputError: when the simulator or its files are not available.
        """


SIMULATORS: Registry[type[Simulator]] = Registry(
    kind="simulator",
    group="simulators",
    built_in={
        "maniskill": "stvla_ros.sim.maniskill.tasks:ManiSkill",
        "simpler": "stvla_ros.sim.simpler_env.tasks:SimplerEnv",
    },
    expected="a subclass of Simulator with tasks and make",
    fits=subclass_of(Simulator),
)
