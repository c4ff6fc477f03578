"""A new checkpoint with random weights: the published names, to be trained or to be measured."""

import json
from pathlib import Path

import numpy as np
import torch

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import ActionStatistics
from stvla_ros.policy.checkpoints import new_folder
from stvla_ros.policy.st4vla.checkpoint import STATISTICS, empty_model, save_model, stored_bytes, write_record
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.model import St4Vla
from stvla_ros.policy.st4vla.prompt import FILE
from stvla_ros.policy.st4vla.sizes import PUBLISHED_SPECIAL, SMALL_SPECIAL, config_of_size
from stvla_ros.policy.st4vla.vocabulary import make_tokenizer

_KEY = "untrained"
# What the actions of an untrained model reach at most: gentle at 5 actions a second (0.1 m/s, 0.5 rad/s).
_TRANSLATION = 0.02  # metres
_ROTATION = 0.1  # radians
# As the published weights of the vision-language model.
_DTYPE = torch.bfloat16
_LARGEST_SEED = 2**63 - 1


def create_checkpoint(directory: Path, size: str, seed: int = 0, max_shard_size: int | str = "5GB") -> None:
    """Write a checkpoint that works, but knows nothing. The same arguments give the same bytes.

    It is written beside ``directory`` and then moved there, so that a run that is killed leaves no half of one.

    :param directory: a new or empty folder.
    :param size: one of ``size_names()``.
    :param seed: of the random weights.
    :param max_shard_size: largest weight file, in bytes or like "5GB".
    :raises InputError: for an unknown size, a seed out of range, a folder that is not empty, or a disk that does not
        take it.
    """
    config = St4VlaConfig.from_dict(config_of_size(size))
    check_seed(seed)
    with new_folder(directory, stored_bytes(empty_model(config), _DTYPE)) as aside:
        save_model(random_model(config, seed, _DTYPE), aside, _DTYPE, max_shard_size)
        special = PUBLISHED_SPECIAL if size == "4b" else SMALL_SPECIAL
        (aside / FILE).write_text(make_tokenizer(special), encoding="utf-8")
        write_untrained_statistics(aside)
        write_record(aside)


def check_seed(seed: int) -> None:
    """:raises InputError: for a seed that torch does not take."""
    if type(seed) is not int or not 0 <= seed <= _LARGEST_SEED:
        raise InputError(f"seed: expected a whole number from 0 to {_LARGEST_SEED}, got {seed!r}")


def random_model(config: St4VlaConfig, seed: int, dtype: torch.dtype) -> St4Vla:
    """The weights as the parts' own classes initialise them, in ``dtype`` from the start: the largest size in float32
    would need 17 GB.
    """
    previous = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            torch.set_default_dtype(dtype)
            return St4Vla(config)
        finally:
            torch.set_default_dtype(previous)


def write_untrained_statistics(directory: Path) -> None:
    """Statistics of no data set, for a checkpoint that is to be trained."""
    limits = [_TRANSLATION] * 3 + [_ROTATION] * 3
    statistics = ActionStatistics(
        q01=np.array([-limit for limit in limits] + [0.0]),
        q99=np.array(limits + [1.0]),
        mask=np.array([True] * 6 + [False]),
        other_entries={"num_transitions": 0, "num_trajectories": 0},
    )
    content = {_KEY: statistics.to_config()}
    (directory / STATISTICS).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
