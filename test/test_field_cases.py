"""docs/reference/field-cases.md: what labs meet, and the test that holds it."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
_ROW = re.compile(r"^\| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def test_each_row_names_tests_that_exist() -> None:
    rows = _ROW.findall((REPOSITORY / "docs/reference/field-cases.md").read_text())[1:]
    assert len(rows) > 25
    for met, _, cells in rows:
        named = _TEST.findall(cells)
        assert named, met
        for file, test in named:
            path = REPOSITORY / "test" / file
            assert path.is_file() and f"def {test}(" in path.read_text(), f"{met}: {file}::{test}"
