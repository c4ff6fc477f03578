"""The parts of a training: which steps, what for, and what of the network stands still."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stvla_ros.errors import InputError
from stvla_ros.learning.training.config import StageConfig

_MOST_LISTED = 12


@dataclass(frozen=True)
class Stage:
    """
    :param begin, end: steps begin … end - 1 of the run.
    :param objectives: weights above 0.
    :param trained: names of the parameters that are trained.
    """

    begin: int
    end: int
    objectives: Mapping[str, float]
    trained: frozenset[str]


def make_stages(configs: Sequence[StageConfig], names: Iterable[str]) -> tuple[Stage, ...]:
    """
    :param configs: with all objectives and all that stands still, see ``TrainingConfig.all_stages``.
    :param names: of all parameters that can be trained.
    :raises InputError: for a part to freeze that there is none of, or a stage with nothing left to train.
    """
    names = tuple(names)
    stages: list[Stage] = []
    for number, config in enumerate(configs):
        where = f"stages[{number}].freeze" if len(configs) > 1 else "freeze"
        frozen = set()
        for part in config.freeze:
            matched = {name for name in names if _is_part(part, name)}
            if not part or not matched:
                parts = sorted({name.split(".")[1] for name in names if "." in name})
                listed = ", ".join(parts[:_MOST_LISTED])
                raise InputError(f"{where}: expected trained parts of the network like {listed}, got {part!r}")
            frozen |= matched
        trained = frozenset(names) - frozen
        if not trained:
            raise InputError(f"{where}: expected something left to train, got {', '.join(config.freeze)}")
        begin = stages[-1].end if stages else 0
        stages.append(Stage(begin, begin + config.steps, dict(config.objectives or {}), trained))
    return tuple(stages)


def _is_part(part: str, name: str) -> bool:
    """Whether the parameter belongs to the part; the module's own first part (``model``) may be left out."""
    return any(f"{each}.".startswith(f"{part}.") for each in (name, name.partition(".")[2]))
