"""docs/explanation/safety.md ends with a table of what it promises and of the tests that hold it to that: each exists,
and no test file of the safety stands beside it.
"""

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "explanation" / "safety.md"
HEADING = "## Promises and their tests"
_ROW = re.compile(r"^\| (?P<promise>[^|]+?) +\| (?P<tests>[^|]+?) +\|$", re.MULTILINE)
# `file.py: test_one, test_another`, or the file alone for all of its tests.
_NAMED = re.compile(r"`(?P<file>[\w/]+\.py)(?:: (?P<tests>[\w, ]+))?`")
# What drives a robot on a bench, live, or with faults.
_RIGS = re.compile(r"^from (robot_bench|widowx_rig|robot_rig) import", re.MULTILINE)


def rows(page: str) -> dict[str, list[tuple[str, list[str]]]]:
    """By promise, the files that hold it, each with its tests; without, all of them are meant."""
    table = page.partition(HEADING)[2]
    found = {}
    for row in _ROW.finditer(table):
        named = [
            (each["file"], [name.strip() for name in (each["tests"] or "").split(",") if name.strip()])
            for each in _NAMED.finditer(row["tests"])
        ]
        if row["promise"] not in ("promise", "---"):
            found[row["promise"]] = named
    return found


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of a file's tests; none where there is no such file."""
    path = TESTS / file
    tree = ast.parse(path.read_text()) if path.is_file() else ast.Module([], [])
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    )


def missing(page: str) -> list[str]:
    """What a page's table names, and is not there; and promises that name no test."""
    lines = []
    for promise, named in rows(page).items():
        if not named:
            lines.append(f"{promise}: names no test")
        for file, tests in named:
            if not names_in(file):
                lines.append(f"{promise}: {file} has no tests")
            lines += [f"{promise}: {file} has no {test}" for test in tests if test not in names_in(file)]
    return lines


def safety_files() -> set[str]:
    files = {*TESTS.glob("control/safety/test_*.py"), *TESTS.glob("faults/test_*.py")}
    files |= {path for path in TESTS.rglob("test_*.py") if _RIGS.search(path.read_text())}
    return {path.relative_to(TESTS).as_posix() for path in files}


def test_every_promise_names_tests_that_exist() -> None:
    page = PAGE.read_text()
    assert len(rows(page)) >= 20
    assert missing(page) == []


def test_every_test_file_of_the_safety_is_named_by_a_promise() -> None:
    named = {file for tests in rows(PAGE.read_text()).values() for file, _ in tests}
    assert sorted(safety_files() - named) == []


def test_a_promise_without_a_test_is_found() -> None:
    table = f"{HEADING}\n\n| promise | tests |\n|---|---|\n"
    ghost = "| it flies | `control/safety/test_gate.py: test_it_flies` |\n"
    nowhere = "| it swims | `control/test_swimming.py` |\n"
    bare = "| it sings | |\n| it hums | to be done |\n"
    assert missing(table + ghost) == ["it flies: control/safety/test_gate.py has no test_it_flies"]
    assert missing(table + nowhere) == ["it swims: control/test_swimming.py has no tests"]
    assert missing(table + bare)[-1] == "it hums: names no test"
