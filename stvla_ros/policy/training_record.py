"""What a checkpoint that was trained here says about its training: ``training.json``, the training's configuration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.policy.checkpoints import TRAINING_RECORD

AUTO_EXECUTION = "auto"
PUBLISHED_EXECUTION = "ensemble"
"""How the published checkpoints' chunks are executed (``control/chunk_execution.py``)."""


def training_record(checkpoint: str) -> Mapping[str, Any]:
    """
    :param checkpoint: folder or hub id.
    :returns: the record; empty for a checkpoint without one.
    :raises InputError: when it cannot be read.
    """
    file = Path(checkpoint) / TRAINING_RECORD
    if not checkpoint or not file.is_file():
        return {}
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(record["inputs"], dict) and isinstance(record.get("execution", ""), str):
            return record
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        pass
    raise InputError(f"{file}: expected a training configuration with inputs")


def resolve_execution(execution: str, checkpoint: str) -> str:
    """
    :param execution: one of ``EXECUTIONS``, or ``auto``: the one that this checkpoint's chunks are meant for.
    :raises InputError: when the checkpoint's record cannot be read.
    """
    if execution != AUTO_EXECUTION:
        return execution
    return training_record(checkpoint).get("execution", PUBLISHED_EXECUTION)
