"""Small data sets that can be trained on, or cannot for one reason."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets.demonstration import Demonstration
from stvla_ros.learning.datasets.lerobot.reader import LeRobotReader
from stvla_ros.learning.datasets.lerobot.writer import LeRobotWriter
from stvla_ros.learning.training.checks import check_datasets
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.selection import select_episodes

if TYPE_CHECKING:
    from stvla_ros.policy.trainable import Start

FRAMES, EPISODES = 12, 10
PLAIN = TrainingConfig(steps=1)


def demonstration(seed: int, frames: int = FRAMES, **changes: Any) -> Demonstration:
    """One that can be trained on: a reach of a few centimetres a step, the gripper closing half-way."""
    random = np.random.default_rng(seed)
    action = np.zeros((frames, 7), np.float32)
    action[:, :3] = random.normal(0.0, 0.01, (frames, 3))
    action[:, 5] = random.normal(0.0, 0.03, frames)
    action[:, 6] = np.arange(frames) < frames / 2
    state = np.zeros((frames, 7), np.float32)
    state[1:] = np.cumsum(action[:-1], axis=0)
    parts: dict[str, Any] = {
        "rgb": random.integers(0, 256, (frames, 120, 160, 3), np.uint8),
        "depth": np.full((frames, 120, 160), 900, np.uint16),
        "intrinsics": np.array([[150.0, 0, 80], [0, 150.0, 60], [0, 0, 1]]),
        "stamps": np.arange(frames) * 200_000_000,
        "action": action,
        "instruction": "put the spoon on the towel",
        "fps": 5.0,
        "state": state,
        "scene_points": np.ones((frames, 3, 3), np.float32),
    }
    return Demonstration(**{**parts, **changes})


def write(folder: Path, episodes: Sequence[Demonstration], robot: str = "widowx") -> LeRobotReader:
    with LeRobotWriter(folder, robot) as writer:
        for episode in episodes:
            writer.add_episode(episode)
    return LeRobotReader(folder)


def start(base: Path, **changes: Any) -> "Start":
    """What a training of a SpatialVLA checkpoint begins with."""
    import torch

    from stvla_ros.policy.inputs import InputsConfig
    from stvla_ros.policy.spatialvla.training.options import SpatialVlaOptions
    from stvla_ros.policy.trainable import Start

    usual_start: dict[str, Any] = {
        "base": base,
        "base_name": str(base),
        "is_new": False,
        "options": SpatialVlaOptions(),
        "objectives": frozenset({"actions"}),
        "inputs": InputsConfig(),
        "lora": None,
        "actions": np.concatenate([demonstration(seed).action for seed in range(EPISODES)]),
        "episodes": EPISODES,
        "unnorm_key": "stvla",
        "seed": 0,
        "device": torch.device("cpu"),
        "precision": torch.float32,
    }
    return Start(**{**usual_start, **changes})


def usual(folder: Path, **changes: Any) -> LeRobotReader:
    return write(folder, [demonstration(seed, **changes) for seed in range(EPISODES)])


def changed(folder: Path, columns: Any, change: Any) -> LeRobotReader:
    """:param change: what becomes of these columns of the actions."""
    episodes = [demonstration(seed) for seed in range(EPISODES)]
    for episode in episodes:
        episode.action[:, columns] = change(episode.action[:, columns])
    return write(folder, episodes)


def check(*readers: LeRobotReader, config: TrainingConfig = PLAIN) -> list[str]:
    """What is suspicious in the episodes that the configuration chooses of these data sets."""
    return check_datasets([select_episodes(reader, config.data.episodes) for reader in readers], config)


def refusal(*readers: LeRobotReader, config: TrainingConfig = PLAIN) -> str:
    with pytest.raises(InputError) as refused:
        check(*readers, config=config)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def train_and_kill(config: Path, run: Path) -> None:
    """`stvla train` in a process that is killed as soon as there is a state to go on from.

    :param run: its output folder, as ``config`` says.
    """
    command = [sys.executable, "-m", "stvla_ros.cli", "train", "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (run / "state.pt").is_file() and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (run / "checkpoint").exists()
