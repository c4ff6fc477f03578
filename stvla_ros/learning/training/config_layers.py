"""Combines a training's configuration from its file, a preset, single values, and, for everything else, the record of
the checkpoint that it starts from.
"""

from collections.abc import Mapping
from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.policy.inputs import InputsConfig, input_values, overridden
from stvla_ros.policy.training_record import training_record
from stvla_ros.settings import shown

# Each of these says how long a run is: giving one removes those of the layers below.
_LENGTHS = ("steps", "epochs", "stages")


def put_over(content: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Put values in place of a configuration's.

    :param content: mapping that is changed.
    :param values: new values by dotted name (``data.episodes``).
    :raises InputError: when something on the way to a name is no mapping.
    """
    if any(name in values for name in _LENGTHS):
        for name in _LENGTHS:
            content.pop(name, None)
    for name, value in values.items():
        *path, last = name.split(".")
        block = content
        for key in path:
            block[key] = block.get(key) or {}
            block = block[key]
            if not isinstance(block, dict):
                raise InputError(f"{key}: expected a mapping, got {shown(block)}")
        block[last] = value


def fill_from_base(content: dict[str, Any]) -> None:
    """Take the policy's inputs and the execution of its chunks from the checkpoint that the training starts from, if
    the configuration does not give them. A checkpoint that is not on this machine yet gives nothing.

    :param content: mapping that is changed.
    :raises InputError: for a checkpoint or its record that cannot be used.
    """
    checkpoint, given = content.get("checkpoint"), content.get("inputs") or {}
    if not isinstance(checkpoint, str) or not checkpoint or not isinstance(given, dict):
        return
    record = training_record(checkpoint)
    if record:
        content["inputs"] = overridden({**input_values(InputsConfig()), **record["inputs"]}, given)
        if "execution" in record:
            content.setdefault("execution", record["execution"])
