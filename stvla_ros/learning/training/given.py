"""Checks at once that everything in a training's configuration is available: without torch, and before any data are
read.
"""

from pathlib import Path

from stvla_ros.cuda_driver import check_device
from stvla_ros.errors import InputError
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.policy.checkpoint_places import check_exists, check_files, find_downloaded
from stvla_ros.policy.checkpoints import is_adapter
from stvla_ros.policy.families import family_of, find_family

_DATASET_FILE = "meta/info.json"


def check_given(config: TrainingConfig) -> None:
    """:raises InputError: naming the key: data sets, checkpoint, size, device or perception that is not available."""
    if not config.data.paths:
        others = "" if config.needs_actions else ", video, image folder or bag"
        raise InputError(f"data.paths: expected at least one LeRobotDataset folder{others}, got none")
    for path in config.data.paths:
        if config.needs_actions and not (Path(path).expanduser() / _DATASET_FILE).is_file():
            raise InputError(f"data.paths: expected a LeRobotDataset, there is no {_DATASET_FILE} in {path}")
        _check_is_there("data.paths", path)
    for path in config.data.clips:
        _check_is_there("data.clips", path)
    check_device(config.device, "device")
    if config.checkpoint:
        _check_base(config.checkpoint, config.family.name)
    elif config.size not in (sizes := find_family(config.family.name).sizes):
        raise InputError(f"size: expected one of {', '.join(sizes)}, got {config.size!r}")
    config.inputs.check_backends()


def _check_is_there(name: str, path: str) -> None:
    if not Path(path).expanduser().exists():
        raise InputError(f"{name}: expected a LeRobotDataset, video, image folder or bag, there is no {path}")


def _check_base(checkpoint: str, family: str) -> None:
    check_exists(checkpoint)
    folder = find_downloaded(checkpoint)
    if folder is None or is_adapter(folder):  # downloaded first, or refused with advice
        return
    if (found := family_of(folder).name) != family:
        raise InputError(f"family.name: expected {found}, the family of checkpoint {folder}, got {family}")
    check_files(folder)
