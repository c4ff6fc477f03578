"""Weights in safetensors, under the names of their parts: ``lam.…``, and ``policy.…`` where there is one."""

from pathlib import Path

import torch

from stvla_ros.devices import memory_for
from stvla_ros.errors import InputError, reason_of
from stvla_ros.policy.checkpoints import check_tensors, open_tensors, stored_shapes, weight_files
from stvla_ros.policy.empty_networks import without_memory
from stvla_ros.policy.ssm_vla.config import LAM, LamConfig, read_lam_config, write_config
from stvla_ros.policy.ssm_vla.lam.latent_action_model import LatentActionModel
from stvla_ros.policy.ssm_vla.lam.tokens import load_frozen
from stvla_ros.policy.weight_shards import write_shards

_PREFIX = f"{LAM}."


def empty_model(config: LamConfig, source: str = "config.json") -> LatentActionModel:
    """The model without memory for its weights (they are on torch's meta device); buffers are real.

    :param source: place that the configuration is from, for the error message.
    :raises InputError: for sizes that make no network.
    """
    try:
        with without_memory():
            return LatentActionModel(config).eval().requires_grad_(False)
    except Exception as error:  # whatever the parts' classes run into
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise InputError(f"{source}: expected sizes that belong together, no network can be made ({reason})") from error


def check_weights(directory: Path) -> list[Path]:
    """Check a checkpoint's latent action model: reads headers, no numbers.

    :returns: the files that hold exactly its tensors.
    :raises InputError: when files are missing or damaged, when tensors are missing, left over or of another shape.
    """
    model = empty_model(read_lam_config(directory), str(directory / "config.json"))
    files = weight_files(directory)
    stored = {name: shape for name, shape in stored_shapes(files).items() if name.startswith(_PREFIX)}
    check_tensors(directory, {_PREFIX + name: tuple(each.shape) for name, each in model.state_dict().items()}, stored)
    return files


def load_model(directory: Path, device: torch.device) -> LatentActionModel:
    """Load the latent action model of a checkpoint, in float32, for inference.

    :raises InputError: as ``check_weights``, when its frozen picture encoder cannot be had or is another, or when there
        is too little memory.
    """
    config = read_lam_config(directory)
    files = check_weights(directory)
    frozen = load_frozen(config, device)
    state: dict[str, torch.Tensor] = {}
    with memory_for(f"checkpoint {directory} on {device}"):
        for file in files:
            with open_tensors(file, device) as tensors:
                for name in tensors.keys():
                    if name.startswith(_PREFIX):
                        state[name.removeprefix(_PREFIX)] = tensors.get_tensor(name)
        model = LatentActionModel(config, frozen)
        model.load_state_dict(state)
        return model.to(device).eval().requires_grad_(False)


def save_model(model: LatentActionModel, directory: Path) -> None:
    """Write config.json and the weights."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {_PREFIX + name: each.detach().cpu().contiguous() for name, each in model.state_dict().items()}
    write_shards(tensors, tensors.__getitem__, directory, "5GB")
    write_config(directory, model.config)


def stored_bytes(model: LatentActionModel) -> int:
    """The approximate size of a checkpoint on the disk."""
    return sum(each.numel() * each.itemsize for each in model.state_dict().values())
