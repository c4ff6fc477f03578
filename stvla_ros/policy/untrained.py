"""Common parts of every family's new checkpoints: random weights by a seed, and statistics of no data set."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from stvla_ros.policy.action_statistics import ActionStatistics

UNTRAINED_KEY = "untrained"
# Largest actions of an untrained model: gentle at 5 actions a second (0.1 m/s, 0.5 rad/s).
_TRANSLATION = 0.02  # metres
_ROTATION = 0.1  # radians

Network = TypeVar("Network", bound=nn.Module)


def random_network(make: Callable[[], Network], seed: int, dtype: torch.dtype) -> Network:
    """Make a network with the initial weights of its parts' own classes. They have their final type from the start: the
    largest size in float32 would need 16 GB.

    :param make: function that makes the network.
    :param seed: seed of the weights, see ``sampling.check_seed``. torch's global random state is unchanged afterwards.
    """
    previous = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            torch.set_default_dtype(dtype)
            return make()
        finally:
            torch.set_default_dtype(previous)


def untrained_statistics() -> ActionStatistics:
    """Statistics of no data set, for a checkpoint that is to be trained."""
    limits = [_TRANSLATION] * 3 + [_ROTATION] * 3
    return ActionStatistics(
        q01=np.array([-limit for limit in limits] + [0.0]),
        q99=np.array(limits + [1.0]),
        mask=np.array([True] * 6 + [False]),
        other_entries={"num_transitions": 0, "num_trajectories": 0},
    )
