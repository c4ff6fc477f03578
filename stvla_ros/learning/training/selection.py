"""Selects the episodes of a data set to train on, and reads their numbers without their pictures."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.open_data import DataReader


@dataclass(frozen=True, eq=False)
class Selection:
    """
    :param numbers: indices of the chosen episodes.
    :param instructions: instruction of each chosen episode.
    :param actions: actions of each chosen episode, (T, 7) float32 metres, radians, opening; NaN for
        clips without actions.
    """

    reader: DataReader
    numbers: tuple[int, ...]
    instructions: tuple[str, ...]
    actions: tuple[np.ndarray, ...]

    @property
    def name(self) -> str:
        """The name in error messages."""
        return f"data set {self.reader.info.path}"

    @property
    def frames(self) -> int:
        return sum(map(len, self.actions))

    @property
    def all_actions(self) -> np.ndarray:
        """(frames, 7), one episode after the other."""
        return np.concatenate(self.actions)


def choose_episodes(instructions: Sequence[str], most: int) -> list[int]:
    """Indices of the episodes to use: the first ``most`` of each instruction; 0 for all."""
    seen: dict[str, int] = defaultdict(int)
    chosen = []
    for number, text in enumerate(instructions):
        seen[text] += 1
        if not most or seen[text] <= most:
            chosen.append(number)
    return chosen


def held_episodes(episodes: int, share: float) -> int:
    """How many of the episodes are held out for validation, at least one of several where ``share`` is above 0."""
    return min(math.ceil(share * episodes), episodes - 1)


def select_episodes(reader: DataReader, most: int) -> Selection:
    """
    :param most: number of episodes of each instruction, 0 for all.
    :raises InputError: for data without episodes, or data that the reader refuses.
    """
    instructions = reader.instructions()
    if not instructions:
        raise InputError(f"data set {reader.info.path}: expected at least one episode, it has none")
    by_episode = np.split(reader.actions(), np.cumsum(reader.episode_lengths())[:-1])
    numbers = choose_episodes(instructions, most)
    return Selection(
        reader,
        tuple(numbers),
        tuple(instructions[number] for number in numbers),
        tuple(by_episode[number] for number in numbers),
    )


def select_clips(reader: DataReader) -> Selection:
    """All episodes, as clips without actions.

    :raises InputError: as :func:`select_episodes`.
    """
    selection = select_episodes(reader, 0)
    return replace(selection, actions=tuple(np.full(each.shape, np.nan, np.float32) for each in selection.actions))
