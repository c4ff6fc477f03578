"""`stvla model merge`: an adapter and the checkpoint that it was trained on become one checkpoint."""

import shutil
from pathlib import Path

from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoints import TRAINING_RECORD
from stvla_ros.policy.commands import MergeArguments


def main(arguments: MergeArguments) -> int:
    """:raises InputError: when the folder is no adapter, its output is not free, or ``load_policy`` refuses it."""
    merge_adapter(arguments.adapter, Path(arguments.output), arguments.dtype)
    print(f"merged checkpoint in {arguments.output}")
    return 0


def merge_adapter(adapter: str, output: Path, dtype: str = "float32") -> None:
    """As ``MergeArguments`` says. The CPU does it.

    :raises InputError: as ``main``; then nothing is left in ``output``.
    """
    # torch, only now: `stvla` imports this module for its arguments.
    from stvla_ros.devices import parse_dtype
    from stvla_ros.policy.checkpoints import find_checkpoint, new_folder
    from stvla_ros.policy.spatialvla.adapters import ADAPTER_CONFIG, is_adapter, read_adapter
    from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
    from stvla_ros.policy.spatialvla.create import count_parameters
    from stvla_ros.policy.spatialvla.family import load_policy

    bytes_each = parse_dtype(dtype, "dtype").itemsize
    directory = find_checkpoint(adapter)
    if not is_adapter(directory):
        raise InputError(f"adapter {directory}: expected a file {ADAPTER_CONFIG}, there is none")
    config = SpatialVlaConfig.read(read_adapter(directory).base)
    with new_folder(output, bytes_each * sum(count_parameters(config).values())) as aside:
        load_policy(str(directory), dtype=dtype).save_pretrained(aside)
        if (directory / TRAINING_RECORD).is_file():
            shutil.copyfile(directory / TRAINING_RECORD, aside / TRAINING_RECORD)
