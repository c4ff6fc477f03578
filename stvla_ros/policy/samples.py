"""What training hands to a family of policies: demonstrations frame by frame, and questions about pictures. Uses no
torch and no files.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from stvla_ros.policy.base import PolicyInput

SCENE_POINTS = ("object", "goal", "gripper")
SCENE_POINTS_FEATURE = "privileged.scene_points"
"""Feature of simulated data sets: positions of object, goal and gripper, (3, 3) metres in the camera's frame."""


class Preparation(ABC):
    """Computes from one frame, as the policy sees it, the arrays that training keeps. Called in processes without
    torch.

    ``takes_unknown_depth`` tells whether it takes a frame without depth, as one whose depth is unknown everywhere.

    A frozen dataclass: it is sent to these processes, and its fields tell whether earlier results can be used again.
    """

    takes_unknown_depth: ClassVar[bool] = False

    @abstractmethod
    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], type]]:
        """Shape and type of each array that is kept of a frame, by name."""

    @abstractmethod
    def __call__(self, observation: PolicyInput) -> Mapping[str, np.ndarray]:
        """The arrays of one frame.

        :raises InputError: for a picture or depth that cannot be used.
        """

    @property
    def frame_bytes(self) -> int:
        """Bytes that are kept of a frame."""
        return sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in self.arrays().values())


class Rows(Protocol):
    """An array (N, …) over all frames whose rows can be read."""

    def __getitem__(self, indices: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Samples:
    """N frames of all episodes, one after the other.

    :param prepared: arrays by name, made by the family's ``Preparation`` from each frame.
    :param actions: (N, 7) float32 metres, radians, opening: the action that should follow each frame.
    :param executed: (N, 7) as ``actions``: the action that was executed; the same as ``actions`` where the data do not
        tell.
    :param states: (N, 7) float32 pose of the tool point (metres, radians) and opening, NaN where unknown.
    :param scene_points: (N, 3, 3) float32, positions of object, goal and gripper in metres in the camera's frame, NaN
        where unknown.
    :param stamps: (N,) int64 nanoseconds, by each episode's own clock.
    :param episode: (N,) int64, number of the frame's episode.
    :param last: (N,) int64, index of its episode's last frame.
    :param instructions: instruction of each episode.
    :param names: name of each episode, for messages.
    """

    prepared: Mapping[str, Rows]
    actions: np.ndarray
    executed: np.ndarray
    states: np.ndarray
    scene_points: np.ndarray
    stamps: np.ndarray
    episode: np.ndarray
    last: np.ndarray
    instructions: tuple[str, ...]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.actions)

    def texts(self, indices: np.ndarray) -> list[str]:
        """Instructions of the frames."""
        return [self.instructions[self.episode[index]] for index in indices]

    def chunks(self, indices: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """The frames whose actions make a chunk.

        :returns: (B, horizon) indices of each frame and those after it, and (B, horizon) bool: whether they are still
            in its episode. Where they are not, the index is the frame's own.
        """
        steps = indices[:, None] + np.arange(horizon)
        valid = steps <= self.last[indices, None]
        return np.where(valid, steps, indices[:, None]), valid

    def at(self, indices: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """The frames that are ``seconds`` later, or earlier if negative, by their stamps.

        :returns: (B,) indices of the nearest frames, and (B,) bool: whether they are in the same episode and within
            half a frame of the time asked for. Where they are not, the index is the frame's own.
        """
        found, valid = np.array(indices), np.zeros(len(indices), dtype=bool)
        for episode in np.unique(self.episode[indices]):
            rows = np.flatnonzero(self.episode[indices] == episode)
            first, end = np.searchsorted(self.episode, [episode, episode + 1])
            stamps = self.stamps[first:end]
            wanted = self.stamps[indices[rows]] + round(seconds * 1e9)
            # Of two that are as near, the earlier one.
            later = np.searchsorted(stamps, wanted).clip(1, max(len(stamps) - 1, 1)).clip(max=len(stamps) - 1)
            earlier = np.maximum(later - 1, 0)
            nearest = np.where(stamps[later] - wanted < wanted - stamps[earlier], later, earlier)
            period = np.median(np.diff(stamps)) if len(stamps) > 1 else 0
            near = np.abs(stamps[nearest] - wanted) <= period / 2
            found[rows[near]], valid[rows] = first + nearest[near], near
        return found, valid

    def before(self, indices: np.ndarray, seconds: float) -> np.ndarray:
        """(B,) indices of the frames that a policy finds by ``PolicyInput.before``: the newest that are at least
        ``seconds`` older. Where there is none, the episode's first frame.
        """
        found = np.empty_like(indices)
        for row, index in enumerate(indices):
            first = int(np.searchsorted(self.episode, self.episode[index]))
            latest = self.stamps[index] - round(seconds * 1e9)
            older = int(np.searchsorted(self.stamps[first : index + 1], latest, side="right"))
            found[row] = first + max(older - 1, 0)
        return found


class Augmentation(Protocol):
    """One random change of the scene for each sample of a batch. It is drawn once and can be applied to any number of
    pictures.
    """

    def __call__(
        self, pictures: np.ndarray, depths: np.ndarray, intrinsics: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """
        :param pictures: (B, S, S, 3) uint8.
        :param depths: (B, S, S) float32 metres.
        :param intrinsics: (B, 3, 3) float32 in pixels of S x S.
        :returns: the same arrays, changed.
        """

    def move(self, places: np.ndarray, size: int) -> np.ndarray:
        """Where points of the pictures are after the change.

        :param places: (B, K, 2) x and y in pixels.
        :param size: side S of the pictures, pixels.
        """


@dataclass(frozen=True, eq=False)
class SeenQuestion:
    """A question about a picture, as a model sees it.

    :param rgb: (S, S, 3) uint8.
    :param question, answer: texts; places in them are pixels of that picture (``grounding/places.py``).
    """

    rgb: np.ndarray
    question: str
    answer: str


class Questions(Protocol):
    """Questions about pictures, with their answers in words."""

    def __len__(self) -> int: ...

    def see(self, number: int, size: int, random: np.random.Generator | None = None) -> SeenQuestion:
        """
        :param number: index of the question.
        :param size: side S of the picture, pixels.
        :param random: random numbers for changes of the picture, with which places move; None for no change.
        """
