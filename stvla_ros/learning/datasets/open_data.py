"""What a training learns from: LeRobotDatasets, and recordings where no actions are needed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stvla_ros.learning.datasets.demonstration import SeenFrame
from stvla_ros.learning.datasets.lerobot import format as layout
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.datasets.recorded_clips import RecordedClips, RecordingsConfig


class ReadEpisode(Protocol):
    """T frames that belong together, see ``Demonstration``."""

    @property
    def stamps(self) -> np.ndarray: ...
    @property
    def action(self) -> np.ndarray: ...
    @property
    def instruction(self) -> str: ...
    @property
    def executed_action(self) -> np.ndarray | None: ...
    @property
    def state(self) -> np.ndarray | None: ...
    @property
    def scene_points(self) -> np.ndarray | None: ...
    def __len__(self) -> int: ...
    def frames(self) -> Iterator[SeenFrame]: ...


class DataReader(Protocol):
    """Episodes with their numbers at hand, and pictures when they are asked for. It travels to other processes.

    ``info`` has at least ``path``, ``fps``, ``robot_type`` and ``features``.
    """

    @property
    def info(self) -> Any: ...
    def __len__(self) -> int: ...
    def episode_lengths(self) -> np.ndarray: ...
    def instructions(self) -> list[str]: ...
    def actions(self) -> np.ndarray: ...
    def episode(self, number: int) -> ReadEpisode: ...
    def identity(self) -> list[Any]: ...


def is_dataset(path: Path) -> bool:
    """Whether a folder is a LeRobotDataset."""
    return (path.expanduser() / layout.INFO_PATH).is_file()


def open_data(path: Path, picture: str, action: str, needs_actions: bool, recordings: RecordingsConfig) -> DataReader:
    """
    :param path: a LeRobotDataset; where no actions are needed also a video, an image folder or a bag.
    :param picture, action: names in a data set, see ``LeRobotReader``.
    :param needs_actions: whether actions are needed.
    :param recordings: settings for recordings.
    :raises InputError: for what cannot be read.
    """
    if needs_actions or is_dataset(path):
        return LeRobotReader(path, picture, action, needs_actions)
    return RecordedClips(path, recordings)
