"""Property tests draw the same examples in each run, and as many as they are asked for."""

import importlib.util
import os
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

TESTS = Path(__file__).parent


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch):
    """Draws three numbers, or as the environment is changed to say."""

    def draw(**changed: str) -> list[int]:
        for name in ("STVLA_FUZZ_SEED", "STVLA_FUZZ_EXAMPLES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in changed.items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location("examples_anew", TESTS / "examples.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        numbers: list[int] = []

        @module.examples(quick=3)
        @given(st.integers(0, 2**64))
        def note(number: int) -> None:
            numbers.append(number)

        note()
        return numbers

    return draw


def test_a_seed_draws_other_examples_and_the_same_ones_again(drawn) -> None:
    usual = drawn()
    assert drawn() == usual and len(usual) == 3
    seeded = drawn(STVLA_FUZZ_SEED="7", STVLA_FUZZ_EXAMPLES="5")
    assert drawn(STVLA_FUZZ_SEED="7", STVLA_FUZZ_EXAMPLES="5") == seeded and len(seeded) == 5
    assert drawn(STVLA_FUZZ_SEED="8", STVLA_FUZZ_EXAMPLES="5") != seeded


@pytest.mark.skipif("STVLA_FUZZ_SEED" in os.environ, reason="drawn by a seed")
def test_no_property_test_is_left_to_chance() -> None:
    assert hypothesis.settings.default.derandomize
    files = [file for file in TESTS.rglob("*.py") if file.name not in ("examples.py", Path(__file__).name)]
    assert [file.name for file in files if "@settings(" in file.read_text()] == []
