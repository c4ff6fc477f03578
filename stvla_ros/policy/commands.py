"""`stvla model create`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CreateArguments:
    """A new policy checkpoint with random weights, in the published SpatialVLA layout: works, but is untrained."""

    size: str = "small"
    """tiny (for tests), small (for two CPU cores), medium (for benchmarks) or 4b (the published model's shape)."""

    output: str = ""
    """Folder to make; it must not exist, or be empty. Empty: out/checkpoints/SIZE."""

    seed: int = 0
    """Of the random weights: the same seed gives the same files."""


def main(arguments: CreateArguments) -> int:
    """:raises InputError: for a bad argument; then nothing was made."""
    from stvla_ros.policy.spatialvla.config import SpatialVlaConfig
    from stvla_ros.policy.spatialvla.create import count_parameters, create_checkpoint

    directory = Path(arguments.output or f"out/checkpoints/{arguments.size}").resolve()
    create_checkpoint(directory, arguments.size, arguments.seed)
    counts = count_parameters(SpatialVlaConfig.read(directory))
    for part, count in counts.items():
        print(f"{part:<24}{count / 1e6:10.2f} M parameters")
    stored = sum(file.stat().st_size for file in directory.iterdir())
    print(f"{'all':<24}{sum(counts.values()) / 1e6:10.2f} M parameters, {stored / 1e6:.1f} MB in {directory}")
    return 0


@dataclass(frozen=True)
class MergeArguments:
    """Merge a LoRA adapter into the checkpoint that it was trained on; the result is in the published layout."""

    adapter: str
    """Folder with an adapter (adapter_config.json), or its hub id."""

    output: str
    """Folder to make; it must not exist, or be empty."""

    dtype: str = "float32"
    """Type of the weights written: float32 acts exactly as the adapter does; bfloat16 takes half the disk, but rounds
    small updates away."""
