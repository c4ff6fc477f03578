"""The stages of a training: their steps, objectives and data, and the frozen parts of the network."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.learning.training.config_sections import StageConfig

_MOST_LISTED = 12


@dataclass(frozen=True)
class Stage:
    """
    :param begin, end: range of the run's steps, begin … end - 1.
    :param objectives: weights of the objectives, all above 0.
    :param trained: names of the parameters that are trained.
    """

    begin: int
    end: int
    objectives: Mapping[str, float]
    trained: frozenset[str]


def make_stages(configs: Sequence[StageConfig], names: Iterable[str]) -> tuple[Stage, ...]:
    """
    :param configs: configurations with all objectives and all frozen parts, see ``TrainingConfig.all_stages``.
    :param names: names of all parameters that can be trained.
    :raises InputError: for a frozen part that does not exist, or a stage with nothing left to train.
    """
    names = tuple(names)
    stages: list[Stage] = []
    for number, config in enumerate(configs):
        where = f"stages[{number}].freeze" if len(configs) > 1 else "freeze"
        frozen = set()
        for part in config.freeze:
            matched = parameters_of(part, names, where)
            frozen |= matched
        trained = frozenset(names) - frozen
        if not trained:
            raise InputError(f"{where}: expected something left to train, got {', '.join(config.freeze)}")
        begin = stages[-1].end if stages else 0
        stages.append(Stage(begin, begin + config.steps, dict(config.objectives or {}), trained))
    return tuple(stages)


def frames_of_stages(
    configs: Sequence[StageConfig], paths: Sequence[str], data_set: np.ndarray, train: np.ndarray
) -> list[np.ndarray]:
    """
    :param configs: configurations, see ``make_stages``.
    :param paths: paths of all data sets.
    :param data_set: (N,) index in ``paths`` of each frame's data set.
    :param train: indices of the frames that are not held out.
    :returns: for each stage, the indices of its frames.
    :raises InputError: for a stage without frames.
    """
    found = []
    for number, config in enumerate(configs):
        wanted = [place for place, path in enumerate(paths) if path in config.data]
        frames = train[np.isin(data_set[train], wanted)]
        if not len(frames):
            raise InputError(
                f"stages[{number}].data: expected an episode that is not held out, {', '.join(config.data)} has none; "
                "lower data.validation_share"
            )
        found.append(frames)
    return found


def parameters_of(part: str, names: Collection[str], where: str) -> set[str]:
    """The names of the parameters that belong to a part of the network: a dotted name or the beginning of one. The
    module's own first part (``model``) may be left out.

    :param part: dotted name of the part.
    :param names: names of all parameters that can be trained.
    :param where: name of the key, for the error.
    :raises InputError: for a part that no parameter belongs to.
    """
    matched = {name for name in names if _is_part(part, name)}
    if not part or not matched:
        parts = sorted({name.split(".")[1] for name in names if "." in name})
        listed = ", ".join(parts[:_MOST_LISTED])
        raise InputError(f"{where}: expected trained parts of the network like {listed}, got {part!r}")
    return matched


def _is_part(part: str, name: str) -> bool:
    """Whether the parameter belongs to the part. The module's own first part (``model``) may be left out."""
    return any(f"{each}.".startswith(f"{part}.") for each in (name, name.partition(".")[2]))
