"""Refuses, before anything is trained, clips without actions that nothing can be learnt from. What keyframes and the
like ask of stamps is the family's to check (``Trainable.use``).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stvla_ros.errors import InputError
from stvla_ros.learning.datasets import demonstration as schema
from stvla_ros.learning.training.config import TrainingConfig
from stvla_ros.learning.training.selection import Selection


def check_clips(selections: Sequence[Selection], config: TrainingConfig) -> list[str]:
    """
    :param selections: the clips to train on.
    :returns: a line for everything that is suspicious, but can be trained on.
    :raises InputError: when the data's own depth is asked for, and none has any, also no demonstrations beside them.
    """
    warnings = []
    if config.inputs.depth == "sensor":
        blind = [each for each in selections if schema.DEPTH not in each.reader.info.features]
        if len(blind) == len(selections) and not config.data.clips:
            raise InputError(
                "data.paths: expected depth in some of them because inputs.depth is sensor, none has any; set "
                "inputs.depth to depth_anything or zoedepth, or to constant where the network is to do without"
            )
        warnings += [f"{each.name}: no depth, its depth counts as unknown" for each in blind]
    warnings += [
        f"{each.name}: no intrinsics, where things lie is known along the camera's axis alone"
        for each in selections
        if schema.INTRINSICS not in each.reader.info.features
    ]
    taught = {Path(path).resolve() for path in config.data.paths} if config.data.clips else set()
    warnings += [
        f"{each.name}: in data.paths, too: episodes that are held out there are seen as clips"
        for each in selections
        if each.reader.info.path.resolve() in taught
    ]
    paths = Counter(each.reader.info.path.resolve() for each in selections)
    warnings += [f"data set {path}: listed {count} times" for path, count in paths.items() if count > 1]
    for each in selections:
        left_out = getattr(each.reader, "left_out", ())
        if left_out:
            warnings.append(f"{each.name}: {len(left_out)} frames were left out, the first: {left_out[0]}")
    return warnings
