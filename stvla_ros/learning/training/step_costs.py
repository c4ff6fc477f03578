"""Measures what an optimiser step of each of several trainings costs on this machine, to give them equal time."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.run import make_ready

_ROUNDS, _STEPS = 3, 2


def step_seconds(configs: Mapping[str, TrainingConfig], folder: Path) -> dict[str, float]:
    """Seconds of a step of each training: of the processors' time on a CPU, which other work on the machine changes
    less, else of the clock. The trainings take turns; the median of three turns counts.

    :param configs: trainings by name, all on one device. Their networks are in memory at the same time.
    :param folder: folder for the networks; nothing in it is a training's result.
    :raises InputError: for a training that cannot begin.
    """
    trainers = {
        name: make_ready(replace(config, output=str(folder / name))).trainer for name, config in configs.items()
    }
    found: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(_ROUNDS):
        for name, trainer in trainers.items():
            clock = time.process_time if trainer.device.type == "cpu" else time.perf_counter
            # The first step takes its batch from an earlier turn. What the last one reads ahead belongs to a next one.
            for number in range(1 + _STEPS):
                if number == 1:
                    begun = clock()
                trainer.train_step()
            found[name].append((clock() - begun) / _STEPS)
    return {name: median(each) for name, each in found.items()}
