"""`stvla tasks`: lists the simulated tasks, and the requirements of each."""

import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional

from stvla_ros.errors import InputError
from stvla_ros.sim.simulators import SIMULATORS
from stvla_ros.sim.task import Task

_OF_SIMULATOR = "as the simulator says, by episode"


@dataclass(frozen=True)
class TasksArguments:
    """List the simulated tasks: robot, official episodes, whether the scripted expert can do it, what it needs."""

    name: Annotated[str, Positional] = ""
    """Only tasks whose name contains this."""
    robot: str = ""
    """Only tasks of this robot: widowx, google_robot, panda, or another package's."""


@dataclass(frozen=True)
class ListedTask:
    """:param needs: requirements of the task beside this package, and whether they are here."""

    task: Task
    needs: str

    def lines(self, width: int) -> Iterator[str]:
        task = self.task
        expert = "expert" if task.has_expert else "no expert"
        yield f"{task.name}  ({task.robot}, {task.num_episodes} episodes, {expert})"
        yield from textwrap.wrap(
            f'"{task.instruction}"' if task.instruction else _OF_SIMULATOR,
            width,
            initial_indent="    ",
            subsequent_indent="    ",
        )
        yield f"    needs: {self.needs}"


def main(arguments: TasksArguments) -> int:
    """:returns: exit code: 2 when another package's simulator cannot be used; the other tasks are still listed.

    :raises InputError: when no task fits the arguments.
    """
    code, found, robots = 0, [], set()
    for name in SIMULATORS.names():
        try:
            simulator = SIMULATORS.find(name)()
            for task in simulator.tasks().values():
                robots.add(task.robot)
                if arguments.name in task.name and arguments.robot in ("", task.robot):
                    found.append(ListedTask(task, simulator.needs(task)))
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            code = 2
    if not found and not code:
        raise InputError(
            f"tasks: expected a part of a task's name and one of the robots {', '.join(sorted(robots))}, got "
            f"{arguments.name!r} and {arguments.robot!r}"
        )
    width = min(shutil.get_terminal_size().columns, 120)
    for listed in found:
        print("\n".join(listed.lines(width)))
    return code
