"""A new checkpoint with random weights: the published names, to be trained or to be measured."""

from pathlib import Path

import torch

from stvla_ros.policy.checkpoints import new_folder
from stvla_ros.policy.sampling import check_seed
from stvla_ros.policy.st4vla.checkpoint import empty_model, save_model, stored_bytes, write_record
from stvla_ros.policy.st4vla.config import St4VlaConfig
from stvla_ros.policy.st4vla.model import St4Vla
from stvla_ros.policy.st4vla.sizes import PUBLISHED_SPECIAL, SMALL_SPECIAL, config_of_size
from stvla_ros.policy.st4vla.vocabulary import make_tokenizer
from stvla_ros.policy.statistics_file import write_statistics
from stvla_ros.policy.tokenizer_files import FILE
from stvla_ros.policy.untrained import UNTRAINED_KEY, random_network, untrained_statistics

# Type of the published weights of the vision-language model.
_DTYPE = torch.bfloat16


def create_checkpoint(directory: Path, size: str, seed: int = 0, max_shard_size: int | str = "5GB") -> None:
    """Write a checkpoint that works, but knows nothing. The same arguments give the same bytes.

    It is written beside ``directory`` and then moved there, so that a run that is killed leaves no half of one.

    :param directory: a new or empty folder.
    :param size: one of ``size_names()``.
    :param seed: seed of the random weights.
    :param max_shard_size: largest weight file, in bytes or like "5GB".
    :raises InputError: for an unknown size, a seed out of range, a folder that is not empty, or a disk that does not
        take it.
    """
    config = St4VlaConfig.from_dict(config_of_size(size))
    check_seed(seed)
    with new_folder(directory, stored_bytes(empty_model(config), _DTYPE)) as aside:
        save_model(random_network(lambda: St4Vla(config), seed, _DTYPE), aside, _DTYPE, max_shard_size)
        special = PUBLISHED_SPECIAL if size == "4b" else SMALL_SPECIAL
        (aside / FILE).write_text(make_tokenizer(special), encoding="utf-8")
        write_untrained_statistics(aside)
        write_record(aside)


def write_untrained_statistics(directory: Path) -> None:
    """Statistics of no data set, for a checkpoint that is to be trained."""
    write_statistics(directory, {UNTRAINED_KEY: untrained_statistics()})
