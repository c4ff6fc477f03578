"""What a family's check of a checkpoint says, and the remark that all families make."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stvla_ros.errors import InputError
from stvla_ros.policy.action_statistics import ActionStatistics, select_statistics, why_statistics


@dataclass(frozen=True)
class Remark:
    """What a family's check of a checkpoint found.

    :param level: severity; a checkpoint with an ``error`` cannot be used.
    :param text: finding, in words.
    :param advice: advice about what to do; needed for a warning and an error.
    """

    level: Literal["ok", "note", "warning", "error"]
    text: str
    advice: str = ""


def remark_on_statistics(
    folder: Path, statistics: Mapping[str, ActionStatistics], unnorm_key: str, fallback_unnorm_key: str
) -> Remark:
    """The remark on the statistics that a checkpoint is to act by.

    :param folder: folder of the checkpoint.
    :param statistics: statistics of the checkpoint, by data set.
    :param unnorm_key: data set that is asked for, as in ``PolicyFamily.check``.
    :param fallback_unnorm_key: data set of the robot.
    """
    try:
        key, _ = select_statistics(statistics, unnorm_key, fallback_unnorm_key)
    except InputError as problem:
        advice = "give --unnorm-key the data set that was recorded on this kind of robot, or train on some"
        return Remark("error", f"checkpoint {folder}: {problem}", advice)
    why = why_statistics(statistics, key, unnorm_key, fallback_unnorm_key)
    if key in (unnorm_key, fallback_unnorm_key):
        return Remark("ok", f"action statistics {key!r} ({why})")
    robots = f", {fallback_unnorm_key!r} would be the robot's" if fallback_unnorm_key else ""
    return Remark(
        "note",
        f"action statistics {key!r}: {why}{robots}",
        "make sure that the checkpoint was trained on this kind of robot: sizes of motions follow from them; another "
        "data set's: --unnorm-key",
    )
