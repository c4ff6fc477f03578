"""Between a checkpoint and one that was trained on from it: the mean of their weights.

What a training brings and what it loses are often not the same size along the way from one to the other. Robust
fine-tuning by weight averages is WiSE-FT (arXiv 2109.01903).
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoints import TRAINING_RECORD, new_folder, read_json
from stvla_ros.policy.stored_weights import check_tensors, open_tensors, stored_shapes, weight_files
from stvla_ros.policy.weight_shards import write_shards


def average_checkpoints(before: Path, after: Path, share: float, output: Path) -> None:
    """Write a checkpoint whose weights are (1 - share) of ``before`` and share of ``after``, computed in float32 and
    stored as those of ``after`` are. All other files are those of ``after``; its record of the training says what was
    averaged.

    :param before: folder of a checkpoint.
    :param after: folder of a checkpoint that was trained on from it, with the same configuration and tokens.
    :param share: 0 to 1.
    :param output: folder to make.
    :raises InputError: for folders that do not belong together, or cannot be read or written.
    """
    _check_alike(before, after)
    of_before, of_after = weight_files(before), weight_files(after)
    check_tensors(after, stored_shapes(of_before), stored_shapes(of_after))
    needed = sum(file.stat().st_size for file in of_after)
    with new_folder(output, needed) as folder:
        for file in _others(after).values():
            shutil.copyfile(file, folder / file.name)
        earlier, later = _tensors(of_before), _tensors(of_after)
        mean = {
            name: torch.lerp(earlier[name].float(), tensor.float(), share).to(tensor.dtype).contiguous()
            for name, tensor in later.items()
        }
        for name, tensor in mean.items():
            if not tensor.isfinite().all():
                raise InputError(f"checkpoint {before} or {after}: expected finite weights, {name} has others")
        write_shards(mean, mean.__getitem__, folder, "5GB")
        record = read_json(after / TRAINING_RECORD) if (after / TRAINING_RECORD).is_file() else {}
        record["averaged"] = {"with": str(before), "share": share}
        (folder / TRAINING_RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _tensors(files: list[Path]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in files:
        with open_tensors(file) as tensors:
            found |= {name: tensors.get_tensor(name) for name in tensors.keys()}
    return found


def _others(folder: Path) -> Mapping[str, Path]:
    """A checkpoint's files by name, but its weights, their index, and the record of the training."""
    return {
        file.name: file
        for file in sorted(folder.iterdir())
        if file.is_file() and ".safetensors" not in file.name and file.name != TRAINING_RECORD
    }


def _check_alike(before: Path, after: Path) -> None:
    """:raises InputError: unless the same numbers mean the same in both: shapes, tokens, action bins, statistics."""
    earlier, later = _others(before), _others(after)
    differ = [
        name
        for name in sorted({*earlier, *later})
        if name not in earlier or name not in later or earlier[name].read_bytes() != later[name].read_bytes()
    ]
    if differ:
        raise InputError(
            f"checkpoint {after}: expected one that was trained on from {before} with the same configuration, "
            f"statistics and tokens; these files differ: {', '.join(differ)}"
        )
