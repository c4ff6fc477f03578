"""`stvla model create|convert|merge|average|inspect`: checkpoints of any family."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoint_places import find_checkpoint
from stvla_ros.policy.checkpoints import ADAPTER_CONFIG, TRAINING_RECORD, check_free, is_adapter
from stvla_ros.policy.families import FAMILIES, PolicyFamily, family_of, find_family
from stvla_ros.settings import Range, parse_mapping


@dataclass(frozen=True)
class CreateArguments:
    """A new policy checkpoint with random weights, in the family's published layout: works, but is untrained."""

    family: str = "spatialvla"
    """Family of policies."""

    size: str = "small"
    """Size of the network, one of the family's: tiny (for tests), small (for two CPU cores), 4b (the published model's
    shape); of spatialvla also medium (for benchmarks)."""

    output: str = ""
    """Folder to make; it must not exist, or be empty. Empty: out/checkpoints/SIZE."""

    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    """Seed of the random weights: the same seed gives the same files."""


@dataclass(frozen=True)
class ConversionArguments:
    """Turn what others publish as a pickle, or in parts, into a checkpoint in safetensors: a run of InternVLA-M1, or a
    Qwen2.5-VL alone as the start of a new policy.
    """

    checkpoint: str
    """The run's steps_N_pytorch_model.pt, with config.yaml and dataset_statistics.json in the folder above its own; or
    the folder of a Qwen2.5-VL."""

    output: str
    """Folder to make; it must not exist, or be empty."""

    base: str = ""
    """Only for a run: folder of the Qwen2.5-VL that the run was started from. Its config.json and tokenizer.json are
    needed, no weights."""

    family: str = "st4vla"
    """Family of policies."""

    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Type of the weights written. The action expert's are float32."""

    parameters: str = "{}"
    """Only for a start from a Qwen2.5-VL: a YAML mapping with size (4b: queries and action expert as published), seed,
    dino (a DINOv2 .pth)."""


@dataclass(frozen=True)
class MergeArguments:
    """Merge a LoRA adapter into the checkpoint that it was trained on; the result is in the published layout."""

    adapter: str
    """Folder with an adapter (adapter_config.json), or its hub id."""

    output: str
    """Folder to make; it must not exist, or be empty."""

    family: str = ""
    """Family of policies; empty: the adapter's."""

    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Type of the weights written: float32 acts exactly as the adapter does; bfloat16 takes half the disk, but rounds
    small updates away."""


@dataclass(frozen=True)
class AverageArguments:
    """The mean of a checkpoint's weights and of those that a training made of it. Often it keeps most of what the
    training brought, and loses less of what there was before.
    """

    before: str
    """Folder of the checkpoint that the training began from, or its hub id."""

    after: str
    """Folder of the checkpoint that the training left."""

    output: str
    """Folder to make; it must not exist, or be empty."""

    share: Annotated[float, Range(0.0, 1.0)] = 0.5
    """Share of the latter."""


@dataclass(frozen=True)
class InspectArguments:
    """Show what is in a checkpoint: family, training, what the policy is shown, number of weights by part, statistics.
    Reads no weights.
    """

    checkpoint: str
    """Folder of a checkpoint or an adapter, or its hub id."""

    family: str = ""
    """Family of policies; empty: the checkpoint's."""


def create(arguments: CreateArguments) -> int:
    """:raises InputError: for a bad argument; then nothing was made."""
    folder = Path(arguments.output or f"out/checkpoints/{arguments.size}").resolve()
    family = find_family(arguments.family)
    if arguments.size not in family.sizes:
        raise InputError(f"size: expected one of {', '.join(family.sizes)}, got {arguments.size!r}")
    check_free(folder)
    family.create(folder, arguments.size, arguments.seed)
    parts = family.inspect(folder).parts
    print("\n".join(_counts(parts)))
    stored = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{_count('all', sum(parts.values()))}, {stored / 1e6:.1f} MB in {folder}")
    return 0


def convert(arguments: ConversionArguments) -> int:
    """:raises InputError: for a bad argument, or what cannot be converted; then nothing was made."""
    family = find_family(arguments.family)
    output = Path(arguments.output).resolve()
    check_free(output)
    base = Path(arguments.base).expanduser() if arguments.base else None
    parameters = parse_mapping("parameters", arguments.parameters)
    family.convert(Path(arguments.checkpoint).expanduser(), base, output, arguments.dtype, parameters)
    print(describe(output))
    return 0


def merge(arguments: MergeArguments) -> int:
    """:raises InputError: for a bad argument, or an adapter that cannot be merged; then nothing was made."""
    merge_adapter(arguments.adapter, Path(arguments.output), arguments.dtype, arguments.family)
    print(f"merged checkpoint in {arguments.output}")
    return 0


def average(arguments: AverageArguments) -> int:
    """:raises InputError: for a bad argument, or checkpoints that do not belong together; then nothing was made."""
    from stvla_ros.policy.averaging import average_checkpoints

    output = Path(arguments.output)
    check_free(output)
    before, after = (find_checkpoint(each) for each in (arguments.before, arguments.after))
    for folder in (before, after):
        if is_adapter(folder):
            raise InputError(f"checkpoint {folder}: expected a whole one, got an adapter (stvla model merge)")
    average_checkpoints(before, after, arguments.share, output)
    print(f"averaged checkpoint in {arguments.output}")
    return 0


def inspect(arguments: InspectArguments) -> int:
    """:raises InputError: for a checkpoint that cannot be read."""
    print(describe(find_checkpoint(arguments.checkpoint), arguments.family))
    return 0


def merge_adapter(adapter: str, output: Path, dtype: str = "float32", family: str = "") -> None:
    """Merge an adapter as ``MergeArguments`` says. The record of its training is copied, too.

    :raises InputError: as :func:`merge`.
    """
    check_free(output)
    folder = find_checkpoint(adapter)
    if not is_adapter(folder):
        raise InputError(f"adapter {folder}: expected a file {ADAPTER_CONFIG}, there is none")
    _choose(folder, family).merge(folder, output, dtype)
    if (folder / TRAINING_RECORD).is_file():
        shutil.copyfile(folder / TRAINING_RECORD, output / TRAINING_RECORD)


def describe(folder: Path, family: str = "") -> str:
    """:raises InputError: for a checkpoint that cannot be read."""
    from stvla_ros.policy.training_record import resolve_execution, training_record

    chosen = _choose(folder, family)
    contents, record = chosen.inspect(folder), training_record(str(folder))
    execution = resolve_execution("auto", str(folder))
    lines = [
        f"{'checkpoint':<24}{folder}",
        *([f"{'adapter on':<24}{contents.base}"] if contents.base else []),
        f"{'family':<24}{chosen.name}",
        f"{'options':<24}{_shown(record.get('options'))}",
        f"{'inputs':<24}{_shown(record.get('inputs'))}",
        f"{'execution':<24}{execution}{'' if 'execution' in record else ' (nothing is recorded)'}",
        *([f"{'averaged':<24}{_shown(record['averaged'])}"] if "averaged" in record else []),
        f"{'statistics':<24}{', '.join(contents.statistics) or 'none'}",
        *_counts(contents.parts),
        _count("all", sum(contents.parts.values())),
    ]
    return "\n".join(lines)


def _choose(folder: Path, family: str) -> PolicyFamily:
    if not family:
        return family_of(folder)
    FAMILIES.check(family)
    found = family_of(folder)
    if found.name != family:
        raise InputError(f"family: expected {found.name}, the family of {folder}, got {family!r}")
    return found


def _counts(parts: Mapping[str, int]) -> list[str]:
    return [_count(part, count) for part, count in parts.items()]


def _count(part: str, count: int) -> str:
    return f"{part:<24}{count / 1e6:10.2f} M parameters"


def _shown(block: object) -> str:
    return json.dumps(block) if block else "not recorded"
