"""A new checkpoint with random weights."""

import json
from pathlib import Path
from typing import Any

import torch

from stvla_ros.perception.depth.constant import NO_DEPTH
from stvla_ros.policy.checkpoints import TRAINING_RECORD, new_folder
from stvla_ros.policy.sampling import check_seed
from stvla_ros.policy.ssm_vla.checkpoint import empty_model, empty_policy, save_model, stored_bytes
from stvla_ros.policy.ssm_vla.config import LamConfig, PolicyConfig, new_lam_config, new_policy_config
from stvla_ros.policy.ssm_vla.lam.latent_action_model import LatentActionModel
from stvla_ros.policy.ssm_vla.lam.tokens import FrozenEncoder
from stvla_ros.policy.ssm_vla.model import SsmVla
from stvla_ros.policy.ssm_vla.sizes import MODEL_TYPE, policy_size_names
from stvla_ros.policy.ssm_vla.vocabulary import make_tokenizer
from stvla_ros.policy.statistics_file import write_statistics
from stvla_ros.policy.tokenizer_files import FILE
from stvla_ros.policy.untrained import UNTRAINED_KEY, random_network, untrained_statistics

EXECUTION = "anchored"
"""Execution that chunks of these policies are meant for."""


def create_checkpoint(directory: Path, size: str, seed: int = 0) -> None:
    """Write a checkpoint that works, but knows nothing: a latent action model, and in the sizes that have one a policy.
    The same arguments give the same bytes.

    :param directory: a new or empty folder.
    :param size: one of ``size_names()``.
    :param seed: seed of the random weights.
    :raises InputError: for an unknown size, a seed out of range, a folder that is not empty, or a disk that does not
        take it.
    """
    config = new_lam_config(size)
    check_seed(seed)
    acting = new_policy_config(size, config, config.picture_size) if size in policy_size_names() else None
    empty = [empty_model(config), *([] if acting is None else [empty_policy(config, acting)])]
    with new_folder(directory, stored_bytes(*empty)) as aside:
        policy = None if acting is None else random_policy(config, acting, seed)
        save_model(random_model(config, seed), aside, policy)
        record: dict[str, Any] = {
            "family": MODEL_TYPE,
            "options": {},
            "inputs": {"traces": "none", "depth": "sensor" if config.depth != "none" else NO_DEPTH, "resize": "area"},
        }
        if acting is not None:
            record["execution"] = EXECUTION
            (aside / FILE).write_text(make_tokenizer(acting.vocabulary), encoding="utf-8")
            write_statistics(aside, {UNTRAINED_KEY: untrained_statistics()})
        (aside / TRAINING_RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def random_model(config: LamConfig, seed: int, frozen: FrozenEncoder | None = None) -> LatentActionModel:
    """:param frozen: frozen picture encoder, see ``LatentActionModel``."""
    return random_network(lambda: LatentActionModel(config, frozen), seed, torch.float32)


def random_policy(lam: LamConfig, config: PolicyConfig, seed: int) -> SsmVla:
    return random_network(lambda: SsmVla(lam, config), seed, torch.float32)
