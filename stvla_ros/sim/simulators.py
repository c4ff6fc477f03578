"""What a simulator offers, and the simulators by name."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from stvla_ros.plugins import Registry, subclass_of
from stvla_ros.sim.environment import Environment
from stvla_ros.sim.task import Task


class Simulator(ABC):
    """One simulator: its tasks, and how an environment for one is made. It is made without arguments.

    The module in which it stands is imported to look up a task. What takes seconds to import (the simulator itself)
    belongs into :meth:`make`.
    """

    @abstractmethod
    def tasks(self) -> Mapping[str, Task]:
        """Its tasks by name. Those of another package's simulator are called ``SIMULATOR/TASK``."""

    def needs(self, task: Task) -> str:
        """What the task needs beside this package, and whether it is here, in a few words. Asks no network."""
        return "what its package says"

    def require(self, task: Task) -> None:
        """Have at hand what the task needs, downloading it where the simulator can. Here nothing is needed.

        :raises InputError: saying what cannot be had and how to get it.
        """

    @abstractmethod
    def make(self, task: Task, image_size: tuple[int, int] | None, render: bool) -> Environment:
        """
        :param task: one of :meth:`tasks`.
        :param image_size: (width, height) in pixels; None for the task's own.
        :param render: False for no pictures: ``rgb`` and ``depth`` of the observations are then empty (0 x 0).
        :raises InputError: when the simulator or its files cannot be had.
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
