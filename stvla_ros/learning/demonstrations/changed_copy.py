"""Copies of data sets in which each episode is another."""

from collections.abc import Callable
from pathlib import Path

from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.datasets.lerobot.writer import LeRobotWriter


def write_changed_copy(source: Path, output: Path, changed: Callable[[int, Demonstration], Demonstration]) -> None:
    """A copy of a data set, unless it is there. A copy that is there is whole.

    :param source: data set of `stvla record`.
    :param output: folder of the copy.
    :param changed: function from the number of an episode and the episode to the one in its place.
    """
    if output.is_dir():
        return
    reader = LeRobotReader(source)
    with LeRobotWriter(output, reader.info.robot_type) as writer:
        for number in range(len(reader)):
            writer.add_episode(changed(number, reader.episode(number)))
