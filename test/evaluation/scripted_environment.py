"""A small kinematic world for the tests of the evaluation: a point that is moved towards a goal above a table.

Tasks: ``reach``, and ``reach_far`` with another goal. ``crash`` is ``reach`` whose episode 1 kills its own process, and
``slow`` takes its time. ``fragile`` raises in episode 1.
"""

import os
import signal
import time
from collections.abc import Mapping

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.sim.environment import Environment, EnvironmentInfo, Observation, StepResult

REACHED_M = 0.02
EXPERT_STEP_M = 0.03
EPISODES = 6
MAX_STEPS = 20


class ScriptedEnvironment(Environment):
    def __init__(self, task: str, render: bool = True, image_size: tuple[int, int] | None = None) -> None:
        self._width, self._height = image_size or (64, 48)
        self._task, self._render = task, render
        self.info = EnvironmentInfo(task, "panda", 5.0, MAX_STEPS, EPISODES, "base", "camera")
        self.steps: list[EndEffectorAction] = []

    def reset(self, episode_id: int, seed: int = 0) -> Observation:
        if not 0 <= episode_id < EPISODES:
            raise InputError(f"episode_id: expected 0 to {EPISODES - 1}, got {episode_id}")
        if self._task == "crash" and episode_id == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._task == "fragile" and episode_id == 1:
            raise RuntimeError("the simulator fell over")
        self._position = np.array([0.1, 0.0, 0.2])
        self._goal = np.array([0.2, 0.02 * episode_id, 0.1 if self._task != "reach_far" else 0.02])
        self._near = False
        self.steps = []
        return self._observe()

    def step(self, action: EndEffectorAction) -> StepResult:
        if self._task == "slow":
            time.sleep(0.01)
        self.steps.append(action)
        self._position = self._position + action.translation
        distance = float(np.linalg.norm(self._position - self._goal))
        self._near = distance < 0.05
        return StepResult(self._observe(), distance < REACHED_M)

    @property
    def instruction(self) -> str:
        return "reach the goal"

    def goal_conditions(self) -> Mapping[str, bool]:
        return {"near": self._near}

    def expert_action(self) -> EndEffectorAction:
        way = self._goal - self._position
        length = float(np.linalg.norm(way))
        return EndEffectorAction(way * min(1.0, EXPERT_STEP_M / max(length, 1e-9)), np.zeros(3), 1.0)

    def close(self) -> None:
        pass

    def _observe(self) -> Observation:
        height, width = (self._height, self._width) if self._render else (0, 0)
        rgb = np.full((height, width, 3), 60, np.uint8)
        if self._render:
            rgb[::6, ::6] = 200
            column = int(np.clip(self._position[0] / 0.3, 0, 1) * (self._width - 9))
            row = int(np.clip(self._position[2] / 0.3, 0, 1) * (self._height - 9))
            rgb[row : row + 8, column : column + 8] = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
        depth = np.full((height, width), 700, np.uint16)
        intrinsics = np.array([[60.0, 0, self._width / 2], [0, 60.0, self._height / 2], [0, 0, 1]])
        pose = np.eye(4)
        pose[:3, 3] = self._position
        return Observation(rgb, depth, intrinsics, np.eye(4), pose, (), np.zeros(0), 1.0)


def make_scripted(task: str, *, image_size: tuple[int, int] | None = None, render: bool = True) -> ScriptedEnvironment:
    return ScriptedEnvironment(task, render, image_size)
