"""The action statistics of a checkpoint. Needs no torch: they are asked for before anything starts."""

import json
from collections.abc import Mapping
from pathlib import Path

from stvla_ros.policy.action_statistics import ActionStatistics, statistics_by_key
from stvla_ros.policy.checkpoints import read_json

STATISTICS = "dataset_statistics.json"


def read_run_statistics(directory: Path) -> dict[str, ActionStatistics]:
    """The statistics in dataset_statistics.json, by data set.

    :raises InputError: when the file is missing, or one of its data sets lacks a value or has a wrong one.
    """
    file = directory / STATISTICS
    return statistics_by_key(read_json(file), str(file), str(file))


def write_statistics(directory: Path, statistics: Mapping[str, ActionStatistics]) -> None:
    """Write dataset_statistics.json. :param statistics: statistics by data set."""
    content = {key: each.to_config() for key, each in statistics.items()}
    (directory / STATISTICS).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
