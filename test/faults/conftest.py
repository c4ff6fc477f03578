"""The figures of each fault, in one table at the end of the run; and no fault outlives its test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# What the tests of single nodes use serves here, too.
sys.path.insert(0, str(Path(__file__).parents[1] / "nodes"))

FIGURES: list[tuple[str, float, float, str]] = []


@pytest.fixture(autouse=True)
def _mended(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails leaves its fault, and perhaps a latched stop; the next one must not fail by it."""
    yield
    if "rig" in request.fixturenames:
        request.getfixturevalue("rig").mend()


@pytest.fixture
def figures(request: pytest.FixtureRequest):
    """Takes seconds to hold, largest motion of the tool in metres, and what happened then."""
    name = request.node.name.removeprefix("test_")

    def take(hold_s: float, motion_m: float, then: str) -> None:
        FIGURES.append((name, hold_s, motion_m, then))

    return take


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        lines = ["| fault | time to hold, s | motion after it, mm | then |", "|---|---|---|---|"]
        lines += [f"| {name} | {hold:.2f} | {1000 * motion:.0f} | {then} |" for name, hold, motion, then in FIGURES]
        terminalreporter.write_line("\n".join(lines))
