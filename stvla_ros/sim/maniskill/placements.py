"""Random placements (``sim/regions.py``) in ManiSkill's environments."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.sim.regions import REGIONS, Placement, draw_placement, is_near
from stvla_ros.sim.task import Task

# Seeds for tables of episodes: the Panda's official episodes are drawn from them.
EVALUATION_SEEDS = (0, 1, 2)
# Largest way of an object while it settles. An object that moved farther fell off, or was pushed out of another one.
_SETTLES_WITHIN_M = 0.04
# A cube looks the same after a quarter turn.
_CUBE_SYMMETRY = 4


class Placements(ABC):
    @abstractmethod
    def drawn(self, random: np.random.Generator, half: str = "") -> Any:
        """Context in which the environment's next reset places the objects at random.

        :param half: see ``Environment.reset_random``.
        :raises InputError: when the table is not divided into halves.
        """

    @abstractmethod
    def half(self) -> str:
        """See ``Environment.half``."""

    @abstractmethod
    def is_usable(self) -> bool:
        """Whether the scene that was just reset may be used for a demonstration."""


def make_placements(env: Any, task: Task, reset_official: Callable[[int, int], object]) -> Placements:
    """
    :param env: ManiSkill's environment of the task.
    :param reset_official: function that resets it to (episode_id, seed).
    :raises InputError: when the task has no random placements.
    """
    if task.robot == "panda":
        return _PandaPlacements(env, task, reset_official)
    if task.name not in REGIONS:
        raise InputError(f"task {task.name}: it has no random placements, only its official episodes")
    return _BridgePlacements(env, task)


class _BridgePlacements(Placements):
    """The WidowX tasks: the environment holds its official placements as two tensors, from which a reset chooses."""

    def __init__(self, env: Any, task: Task) -> None:
        self._env, self._region = env, REGIONS[task.name]
        # Rows of the environment's tensors: the object to move, and the goal.
        self._rows = [1, 0] if task.reversed else [0, 1]
        xyz, quat = env.xyz_configs.numpy().astype(np.float64), env.quat_configs.numpy().astype(np.float64)
        self._official = [Placement(p[self._rows], q[self._rows]) for p in xyz for q in quat]
        self._now = self._official[0]

    @contextmanager
    def drawn(self, random: np.random.Generator, half: str = "") -> Iterator[None]:
        import torch

        self._now = draw_placement(self._region.half(half) if half else self._region, self._official, random)
        kept = self._env.xyz_configs, self._env.quat_configs
        # The order of rows is its own inverse.
        self._env.xyz_configs = torch.tensor(self._now.positions[self._rows][None])
        self._env.quat_configs = torch.tensor(self._now.quaternions[self._rows][None])
        try:
            yield
        finally:
            self._env.xyz_configs, self._env.quat_configs = kept

    def is_usable(self) -> bool:
        return bool(
            (np.linalg.norm((self._positions() - self._now.positions)[:, :2], axis=1) < _SETTLES_WITHIN_M).all()
        )

    def half(self) -> str:
        return self._region.half_of(self._positions()[0, 1])

    def _positions(self) -> np.ndarray:
        """(2, 3) metres, the present positions of the object to move and of the goal."""
        names = (self._env.source_obj_name, self._env.target_obj_name)
        return np.array([self._env.objs[name].pose.p[0].cpu().numpy() for name in names])


class _PandaPlacements(Placements):
    """The Panda's cube: every reset draws its place from the seed, also in the official episodes."""

    def __init__(self, env: Any, task: Task, reset_official: Callable[[int, int], object]) -> None:
        self._env, self._name = env, task.name
        self._official = []
        for seed in EVALUATION_SEEDS:
            for episode_id in range(task.num_episodes):
                reset_official(episode_id, seed)
                self._official.append(self._placement())

    @contextmanager
    def drawn(self, random: np.random.Generator, half: str = "") -> Iterator[None]:
        if half:
            self.half()
        yield

    def half(self) -> str:
        raise InputError(f"task {self._name}: its table is not divided into halves")

    def is_usable(self) -> bool:
        now = self._placement()
        return not any(is_near(now, official, _CUBE_SYMMETRY) for official in self._official)

    def _placement(self) -> Placement:
        poses = [
            body.pose.raw_pose[0].cpu().numpy().astype(np.float64) for body in (self._env.cube, self._env.goal_site)
        ]
        return Placement(np.array([pose[:3] for pose in poses]), np.array([pose[3:] for pose in poses]))
