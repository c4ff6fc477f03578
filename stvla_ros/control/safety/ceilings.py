"""Absolute ceilings: values that no limit in a robot's file may exceed, each with its reason. They are declared with
the limit.
"""

import dataclasses
from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.settings import FORMER_NAME

_KEY = "ceiling"


@dataclasses.dataclass(frozen=True)
class Ceiling:
    """
    :param low: least value; with ``positive`` this value itself is too low.
    :param high: greatest value.
    :param why: reason for the greatest value.
    """

    low: float
    positive: bool
    high: float
    why: str

    def allows(self, value: float) -> bool:
        # NaN is neither. No conversion to float, because a whole number may be too large for one.
        return (value > self.low if self.positive else value >= self.low) and value <= self.high

    @property
    def expected(self) -> str:
        return f"more than {self.low:g}, at most {self.high:g}" if self.positive else f"{self.low:g} to {self.high:g}"


def ceiling(
    default: Any = dataclasses.MISSING, *, low: float | None = None, high: float, why: str, former: str = ""
) -> Any:
    """A field of a dataclass of limits.

    :param low: least value; without one, it must be more than 0.
    :param high: greatest value.
    :param why: reason for the greatest value, for people.
    :param former: former name of the limit.
    """
    metadata: dict[str, Any] = {_KEY: Ceiling(0.0 if low is None else low, low is None, high, why)}
    return dataclasses.field(default=default, metadata=metadata | ({FORMER_NAME: former} if former else {}))


def ceilings(limits: Any) -> dict[str, Ceiling]:
    """The ceilings of a dataclass of limits, by field."""
    return {field.name: field.metadata[_KEY] for field in dataclasses.fields(limits) if _KEY in field.metadata}


def check_ceilings(limits: Any) -> None:
    """Call this from the ``__post_init__`` of a dataclass of limits.

    :raises InputError: naming the first number that is not finite, too small or above its ceiling.
    :raises TypeError: for a number that was declared without a ceiling.
    """
    known = ceilings(limits)
    for field in dataclasses.fields(limits):
        value = getattr(limits, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if field.name not in known:
            raise TypeError(f"{type(limits).__name__}.{field.name}: expected a ceiling, it was declared without one")
        if not known[field.name].allows(value):
            raise InputError(
                f"{field.name}: expected {known[field.name].expected} ({known[field.name].why}), got {value}"
            )
