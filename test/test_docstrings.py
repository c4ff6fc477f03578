"""Docstrings are read by people who do not know the code: what stands after ``:param name:`` names a thing."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PLACES = ("stvla_ros", "launch", "tools", "bench")
# "of the chosen episodes", "where it stands": the reader looks in vain for what it is. "whether" tells a bool.
_NO_NOUN = set("of in by from with as at on for to into onto over per after before between without around".split())
_NO_NOUN |= set("behind beside below above since until while if because like than".split())
_NO_NOUN |= set("that which what when where who whom whose why how likewise such these those also".split())
_PARAMETER = re.compile(r":(?:param|ivar)\s+([^:]+):\s*(\S*)")


def _docstrings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _without_noun(source: str) -> list[str]:
    """Names of the parameters whose description begins with one of ``_NO_NOUN``, with that word."""
    found = [match for text in _docstrings(source) for match in _PARAMETER.findall(text)]
    words = [(name, word.lower().rstrip(",;:.")) for name, word in found]
    return [f"{name}: {word}" for name, word in words if not word or word.startswith(":") or word in _NO_NOUN]


def test_a_parameter_is_described_by_a_noun() -> None:
    faults, count = [], 0
    for file in sorted(file for place in PLACES for file in (REPOSITORY / place).rglob("*.py")):
        path, source = file.relative_to(REPOSITORY).as_posix(), file.read_text()
        count += source.count(":param ")
        faults += [f"{path}: {fault}" for fault in _without_noun(source)]
    assert faults == []
    assert count > 1000


@pytest.mark.parametrize(
    "description", ["of the chosen episodes.", "where it is.", "Which ones.", "\n        by name.", ""]
)
def test_a_description_without_a_noun_is_found(description: str) -> None:
    assert _without_noun(f'def f(x):\n    """Does it.\n\n    :param x: {description}\n    """\n')


@pytest.mark.parametrize("description", ["indices of the chosen episodes.", "whether it is there.", "(N, 3) metres."])
def test_a_description_with_a_noun_is_not(description: str) -> None:
    assert not _without_noun(f'def f(x):\n    """Does it.\n\n    :param x: {description}\n    """\n')
