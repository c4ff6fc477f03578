"""A new checkpoint with random weights."""

import json
from pathlib import Path

import torch

from stvla_ros.perception.depth.constant import NO_DEPTH
from stvla_ros.policy.checkpoints import TRAINING_RECORD, new_folder
from stvla_ros.policy.sampling import check_seed
from stvla_ros.policy.ssm_vla.checkpoint import empty_model, save_model, stored_bytes
from stvla_ros.policy.ssm_vla.config import LamConfig, new_lam_config
from stvla_ros.policy.ssm_vla.lam.latent_action_model import LatentActionModel
from stvla_ros.policy.ssm_vla.lam.tokens import FrozenEncoder
from stvla_ros.policy.ssm_vla.sizes import MODEL_TYPE
from stvla_ros.policy.untrained import random_network


def create_checkpoint(directory: Path, size: str, seed: int = 0) -> None:
    """Write a checkpoint that works, but knows nothing. The same arguments give the same bytes.

    :param directory: a new or empty folder.
    :param size: one of ``size_names()``.
    :param seed: seed of the random weights.
    :raises InputError: for an unknown size, a seed out of range, a folder that is not empty, or a disk that does not
        take it.
    """
    config = new_lam_config(size)
    check_seed(seed)
    with new_folder(directory, stored_bytes(empty_model(config))) as aside:
        save_model(random_model(config, seed), aside)
        record = {
            "family": MODEL_TYPE,
            "options": {},
            "inputs": {"traces": "none", "depth": "sensor" if config.depth != "none" else NO_DEPTH},
        }
        (aside / TRAINING_RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def random_model(config: LamConfig, seed: int, frozen: FrozenEncoder | None = None) -> LatentActionModel:
    """:param frozen: frozen picture encoder, see ``LatentActionModel``."""
    return random_network(lambda: LatentActionModel(config, frozen), seed, torch.float32)
