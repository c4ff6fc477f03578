"""`make test-safety` goes on where it was stopped, and says what was found and how to repeat it."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "tools"))

import run_safety

XML = """<testsuites><testsuite><testcase classname="test.control.test_gate" name="test_it" time="2.5">{}</testcase>
</testsuite></testsuites>"""


def fake(name: str, prints: str, code: int = 0) -> run_safety.Part:
    return run_safety.Part(
        name, {"STVLA_FUZZ_SEED": "3"}, ("python", "-c", f"print('{prints}'); raise SystemExit({code})")
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / run_safety.digest()
    made.mkdir()
    return made


def test_every_example_is_in_one_share_with_a_seed_of_its_own() -> None:
    shares = [part for part in run_safety.parts(1200, 650, 7) if "STVLA_FUZZ_SEED" in part.changed]
    assert sum(int(part.changed["STVLA_FUZZ_EXAMPLES"]) for part in shares) == 1200
    assert [part.changed["STVLA_FUZZ_SEED"] for part in shares] == ["7", "8", "9"]


def test_what_was_done_is_not_done_again_and_what_was_killed_is(folder: Path) -> None:
    run_safety.run(fake("search", "first"), folder)
    run_safety.run(fake("search", "again"), folder)
    assert (folder / "search.txt").read_text() == "first\nexit code 0\n"
    run_safety.run(fake("killed", "half", 137), folder)
    assert not (folder / "killed.txt").exists()


def test_a_part_during_which_the_code_changed_has_no_result(tmp_path: Path) -> None:
    run_safety.run(fake("search", "first"), tmp_path)
    assert not (tmp_path / "search.txt").exists()


def test_the_table_sums_the_shares_and_a_finding_names_the_command_that_repeats_it(folder: Path) -> None:
    shares = run_safety.parts(700, 1, 0)[:2]
    shares[0].result(folder).write_text(XML.format(""))
    lines, findings = run_safety.table(shares[:1], folder)
    assert lines[1].split() == ["500", "2", "holds", "test_gate:", "test_it"] and findings == []
    shares[1].result(folder).write_text(XML.format("<failure/>"))
    lines, findings = run_safety.table(shares, folder)
    assert lines[1].split() == ["700", "5", "broken", "test_gate:", "test_it"]
    assert "STVLA_FUZZ_EXAMPLES=200 STVLA_FUZZ_SEED=1 python -m pytest -m hypothesis test/control/safety" in findings[0]
    run_safety.run(fake("search", "broken: speed", 1), folder)
    assert len(run_safety.table([*shares, fake("search", "")], folder)[1]) == 2
