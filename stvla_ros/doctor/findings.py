"""Findings of the checks, and the function that runs a check so that its crash does not stop the others."""

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from stvla_ros.errors import InputError, one_line, reason_of
from stvla_ros.missing_packages import missing_package

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = get_args(Level)
# A check yields its findings one by one, so that a later crash loses none of them.
Findings = Iterator["Finding"]


@dataclass(frozen=True)
class Finding:
    """
    :param level: severity; with an ``error`` the robot must not be driven.
    :param text: finding, in words.
    :param advice: advice about what to do.
    :raises ValueError: for a warning or an error without advice.
    """

    level: Level
    text: str
    advice: str = ""

    def __post_init__(self) -> None:
        if self.level in ("warning", "error") and not self.advice:
            raise ValueError(f"{self.level} {self.text!r}: expected advice")
        # The text may contain names that came over the network.
        object.__setattr__(self, "text", one_line(self.text))


@dataclass(frozen=True)
class Section:
    """
    :param area: one of the command's areas (``--only``).
    :param title: title for people.
    """

    area: str
    title: str
    findings: tuple[Finding, ...]


def ok(text: str) -> Finding:
    return Finding("ok", text)


def note(text: str, advice: str = "") -> Finding:
    return Finding("note", text, advice)


def warning(text: str, advice: str) -> Finding:
    return Finding("warning", text, advice)


def error(text: str, advice: str) -> Finding:
    return Finding("error", text, advice)


def examine(area: str, title: str, check: Callable[[], Iterable[Finding]]) -> Section:
    """Run one check. Any exception becomes an error of its section."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except InputError as problem:
        found.append(error(str(problem), "correct what the line names, then run this again"))
    except Exception as problem:
        lacking = missing_package(problem)
        advice = "install it, then run this again"
        found.append(error(f"not checked: {lacking}", advice) if lacking else _crash(area, problem))
    return Section(area, title, tuple(found))


def count_levels(sections: Sequence[Section]) -> Counter[Level]:
    return Counter(finding.level for section in sections for finding in section.findings)


def _crash(area: str, problem: Exception) -> Finding:
    place = traceback.extract_tb(problem.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return error(
        f"this check crashed: {type(problem).__name__}: {reason_of(problem)} ({where})",
        f"the fault is the check's own, or the machine's: see what `stvla doctor --only {area}` says, and report it",
    )
