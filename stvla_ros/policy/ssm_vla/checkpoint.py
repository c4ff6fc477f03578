"""Weights in safetensors, under the names of their parts: ``lam.…``, and ``policy.…`` where there is one."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from stvla_ros.devices import memory_for
from stvla_ros.errors import InputError, reason_of
from stvla_ros.policy.empty_networks import without_memory
from stvla_ros.policy.ssm_vla.config import (
    LAM,
    POLICY,
    LamConfig,
    PolicyConfig,
    no_policy,
    read_lam_config,
    read_policy_config,
    write_config,
)
from stvla_ros.policy.ssm_vla.lam.latent_action_model import LatentActionModel
from stvla_ros.policy.ssm_vla.lam.tokens import load_frozen
from stvla_ros.policy.ssm_vla.model import SsmVla
from stvla_ros.policy.stored_weights import check_tensors, open_tensors, stored_shapes, weight_files
from stvla_ros.policy.weight_shards import write_shards

Network = TypeVar("Network", bound=nn.Module)


def empty_model(config: LamConfig, source: str = "config.json") -> LatentActionModel:
    """The latent action model without memory for its weights (they are on torch's meta device); buffers are real.

    :param source: place that the configuration is from, for the error message.
    :raises InputError: for sizes that make no network.
    """
    return _empty(lambda: LatentActionModel(config), source)


def empty_policy(lam: LamConfig, config: PolicyConfig, source: str = "config.json") -> SsmVla:
    """The policy without memory for its weights, likewise."""
    return _empty(lambda: SsmVla(lam, config), source)


def _empty(make: Callable[[], Network], source: str) -> Network:
    try:
        with without_memory():
            return make().eval().requires_grad_(False)
    except Exception as error:  # whatever the parts' classes run into
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise InputError(f"{source}: expected sizes that belong together, no network can be made ({reason})") from error


def check_weights(directory: Path) -> list[Path]:
    """Check all that is in a checkpoint: reads headers, no numbers.

    :returns: the files that hold exactly its tensors.
    :raises InputError: when files are missing or damaged, when tensors are missing, left over or of another shape.
    """
    source = str(directory / "config.json")
    lam, policy = read_lam_config(directory), read_policy_config(directory)
    parts: dict[str, nn.Module] = {LAM: empty_model(lam, source)}
    if policy is not None:
        parts[POLICY] = empty_policy(lam, policy, source)
    expected = {
        f"{part}.{name}": tuple(each.shape)
        for part, network in parts.items()
        for name, each in network.state_dict().items()
    }
    files = weight_files(directory)
    check_tensors(directory, expected, stored_shapes(files))
    return files


def load_model(directory: Path, device: torch.device) -> LatentActionModel:
    """Load the latent action model of a checkpoint, in float32, for inference.

    :raises InputError: as ``check_weights``, when its frozen picture encoder cannot be had or is another, or when there
        is too little memory.
    """
    config = read_lam_config(directory)
    files = check_weights(directory)
    return _loaded(directory, files, LAM, LatentActionModel(config, load_frozen(config, device)), device)


def load_policy_model(directory: Path, device: torch.device) -> SsmVla:
    """Load the policy of a checkpoint, in float32, for inference.

    :raises InputError: as ``check_weights``, for a latent action model without a policy, or when there is too little
        memory.
    """
    config = required_policy_config(directory)
    files = check_weights(directory)
    return _loaded(directory, files, POLICY, SsmVla(read_lam_config(directory), config), device)


def required_policy_config(directory: Path) -> PolicyConfig:
    """:raises InputError: for a latent action model without a policy, or a config.json that cannot be used."""
    if (config := read_policy_config(directory)) is None:
        raise InputError(no_policy(str(directory)))
    return config


def _loaded(directory: Path, files: list[Path], part: str, network: Network, device: torch.device) -> Network:
    state: dict[str, torch.Tensor] = {}
    with memory_for(f"checkpoint {directory} on {device}"):
        for file in files:
            with open_tensors(file, device) as tensors:
                for name in tensors.keys():
                    if name.startswith(f"{part}."):
                        state[name.removeprefix(f"{part}.")] = tensors.get_tensor(name)
        network.load_state_dict(state)
        return network.to(device).eval().requires_grad_(False)


def save_model(lam: LatentActionModel, directory: Path, policy: SsmVla | None = None) -> None:
    """Write config.json and the weights."""
    directory.mkdir(parents=True, exist_ok=True)
    parts: dict[str, nn.Module] = {LAM: lam} if policy is None else {LAM: lam, POLICY: policy}
    tensors = {
        f"{part}.{name}": each.detach().cpu().contiguous()
        for part, network in parts.items()
        for name, each in network.state_dict().items()
    }
    write_shards(tensors, tensors.__getitem__, directory, "5GB")
    write_config(directory, lam.config, None if policy is None else policy.config)


def stored_bytes(*networks: nn.Module) -> int:
    """The approximate size of a checkpoint on the disk."""
    return sum(each.numel() * each.itemsize for network in networks for each in network.state_dict().values())
