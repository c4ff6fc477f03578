"""Writes weights of any family as safetensors: one file, or several with an index."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file

from stvla_ros.policy.checkpoints import INDEX, WEIGHTS


def write_shards(
    planned: Mapping[str, torch.Tensor],
    tensor: Callable[[str], torch.Tensor],
    directory: Path,
    max_shard_size: int | str,
) -> None:
    """Write the weights, one file's tensors at a time, and remove the files of an earlier save.

    :param planned: tensors by published name, or stand-ins of the same shapes and types without memory.
    :param tensor: function that returns each tensor by its name, contiguous.
    :param max_shard_size: largest file, in bytes or like "5GB"; more weights are split, with an index.
    """
    split = split_torch_state_dict_into_shards(dict(planned), max_shard_size=max_shard_size)
    for file, names in split.filename_to_tensors.items():
        save_file({name: tensor(name) for name in names}, directory / file, metadata={"format": "pt"})
        (directory / file).chmod(0o644)  # safetensors lets nobody else read it
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    # Files of an earlier save would otherwise be loaded in place of the new ones.
    written = {*split.filename_to_tensors, INDEX} if split.is_sharded else {*split.filename_to_tensors}
    for file in [directory / INDEX, directory / WEIGHTS, *directory.glob("model-*-of-*.safetensors")]:
        if file.name not in written:
            file.unlink(missing_ok=True)
