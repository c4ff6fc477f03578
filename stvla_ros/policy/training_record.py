"""Reads a checkpoint's record of its training (``training.json``, the training's configuration), and decides what its
policy is shown.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stvla_ros.control.chunk_execution import EXECUTIONS
from stvla_ros.errors import InputError, one_line, reason_of
from stvla_ros.perception.depth.constant import NO_DEPTH
from stvla_ros.policy.checkpoint_places import find_base_name, find_downloaded
from stvla_ros.policy.checkpoints import TRAINING_RECORD
from stvla_ros.policy.inputs import BESIDE, InputsConfig, differences, input_values, overridden
from stvla_ros.policy.registry import OF_CHECKPOINT, WITHOUT_NETWORK
from stvla_ros.safe_files import read_json_file
from stvla_ros.settings import build, shown
from stvla_ros.shared_files import default_checkpoint

AUTO = "auto"
"""Value that means: as the checkpoint was trained."""
PUBLISHED_EXECUTION = "ensemble"
"""Execution of the published checkpoints' chunks (``control/chunk_execution.py``)."""


@dataclass(frozen=True)
class Resolved:
    """The inputs of a policy, and the execution of its chunks.

    :param execution: execution of the chunks, one of ``EXECUTIONS``.
    :param notes: lines for the user, one for each difference from the checkpoint's training.
    """

    inputs: InputsConfig
    execution: str
    notes: tuple[str, ...] = ()


def checkpoint_of(policy: str, checkpoint: str) -> str:
    """The checkpoint that a policy runs; empty for a policy without a network.

    :param policy: registered name.
    :param checkpoint: checkpoint that was given; empty for the policy's own.
    """
    if policy in WITHOUT_NETWORK:
        return ""
    return checkpoint or (str(default_checkpoint()) if policy == OF_CHECKPOINT else "")


def resolve(
    checkpoint: str, given: Mapping[str, Any], execution: str = AUTO, usual: InputsConfig = InputsConfig()
) -> Resolved:
    """Decide the inputs of a policy: the given values, else those that the checkpoint was trained with, else the usual
    ones.

    :param checkpoint: folder or hub id; empty for a policy without a network.
    :param given: given values of some fields of :class:`InputsConfig`.
    :param execution: one of ``EXECUTIONS``, or ``auto``.
    :param usual: inputs of a policy whose checkpoint has no record.
    :raises InputError: naming the field that was given, or the file and its key, that cannot be used.
    """
    file, record = _find_and_read(checkpoint)
    trained = {**input_values(usual), **record.get("inputs", {})}
    inputs = _build(file, overridden(trained, given), given)
    check_beside(checkpoint, inputs.traces)
    chosen = _meant(record) if execution == AUTO else execution
    return Resolved(inputs, chosen, _notes(checkpoint, file, record, inputs, execution))


def check_beside(checkpoint: str, traces: str) -> None:
    """Check whether a checkpoint can be shown these traces. For a checkpoint that is not on this machine, loading
    checks it.

    :param checkpoint: folder or hub id; empty for a policy without a network.
    :param traces: one of ``TRACES``.
    :raises InputError: for traces beside the depth and a checkpoint that was not trained with them: the network needs a
        part of its own for them.
    """
    if traces != BESIDE or not checkpoint or find_downloaded(checkpoint) is None:
        return
    if training_record(checkpoint).get("inputs", {}).get("traces") != BESIDE:
        raise InputError(
            f"traces: expected none, depth or rgb, checkpoint {checkpoint} was not trained with traces beside the depth"
        )


def training_notes(checkpoint: str, inputs: InputsConfig, execution: str = AUTO) -> tuple[str, ...]:
    """Lines for the user, one for each difference between inputs and execution and the checkpoint's training.

    :param checkpoint: folder or hub id; empty for a policy without a network.
    :param execution: one of ``EXECUTIONS``, or ``auto``.
    :raises InputError: when the checkpoint's record cannot be read.
    """
    return _notes(checkpoint, *_find_and_read(checkpoint), inputs, execution)


def _notes(
    checkpoint: str, file: Path | None, record: Mapping[str, Any], inputs: InputsConfig, execution: str
) -> tuple[str, ...]:
    if file is None:
        unknown = checkpoint and find_downloaded(checkpoint) is None
        line = f"checkpoint {checkpoint} is not on this machine yet: what it was trained with is not known"
        return (line,) if unknown else ()
    lines = differences(inputs, record["inputs"])
    if execution not in (AUTO, _meant(record)):
        lines.append(f"execution: {execution} is used, the checkpoint was trained for {_meant(record)}")
    return tuple(map(one_line, lines))


def find_record(checkpoint: str) -> Path | None:
    """The file with a checkpoint's record: its own; for an adapter without one, the record of its base.

    :param checkpoint: folder or hub id; empty for none.
    :returns: None where there is none on this machine.
    :raises InputError: for anything but a folder or a hub id.
    """
    folder = find_downloaded(checkpoint) if checkpoint else None
    if folder is None:
        return None
    if (folder / TRAINING_RECORD).is_file():
        return folder / TRAINING_RECORD
    try:
        base = find_downloaded(find_base_name(folder))
    except InputError:  # no adapter, or one whose checkpoint is gone: loading it says so
        return None
    return base / TRAINING_RECORD if base and (base / TRAINING_RECORD).is_file() else None


def training_record(checkpoint: str) -> Mapping[str, Any]:
    """A checkpoint's record; empty where there is none.

    :param checkpoint: folder or hub id; empty for none.
    :raises InputError: when it cannot be read.
    """
    return _find_and_read(checkpoint)[1]


def resolve_execution(execution: str, checkpoint: str) -> str:
    """
    :param execution: one of ``EXECUTIONS``, or ``auto``: the one that this checkpoint's chunks are meant for.
    :raises InputError: when the checkpoint's record cannot be read.
    """
    if execution != AUTO:
        return execution
    return _meant(training_record(checkpoint))


def _meant(record: Mapping[str, Any]) -> str:
    """The execution that chunks of a checkpoint with this record are meant for."""
    return record.get("execution", PUBLISHED_EXECUTION)


def _find_and_read(checkpoint: str) -> tuple[Path | None, Mapping[str, Any]]:
    file = find_record(checkpoint)
    return file, _read(file) if file else {}


def _read(file: Path) -> Mapping[str, Any]:
    """:raises InputError: naming the file and the key that cannot be used."""
    try:
        record = read_json_file(file)
    except (OSError, InputError) as error:
        reason = reason_of(error).removeprefix(f"{file}: ")
        raise InputError(f"{file}: expected a training configuration ({reason})") from None
    inputs = record.get("inputs") if isinstance(record, dict) else None
    if not isinstance(inputs, dict):
        raise InputError(f"{file}: expected a training configuration with inputs, got {shown(inputs)}")
    execution = _meant(record)
    if execution not in tuple(EXECUTIONS):
        raise InputError(f"{file}: execution: expected one of {', '.join(EXECUTIONS)}, got {shown(execution)}")
    return record


def _build(file: Path | None, values: Mapping[str, Any], given: Mapping[str, Any]) -> InputsConfig:
    try:
        return build(InputsConfig, dict(values))
    except InputError as error:
        name = re.split(r"[.: ]", str(error))[0]
        if file is None:
            raise
        if name not in given:
            hint = " (of a plug-in that is not installed?)" if name in ("depth", "tracker") else ""
            raise InputError(f"{file}: inputs.{error}{hint}") from None
        if name == "traces" and "depth" not in given and values["depth"] == NO_DEPTH:
            raise InputError(f"{error}; {file} says depth {NO_DEPTH}: give a depth as well") from None
        raise
