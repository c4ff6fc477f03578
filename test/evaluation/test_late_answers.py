"""What late answers cost when the answers are perfect: the execution's own share, without any network."""

import pytest
from late_expert import solved


def test_late_answers_of_the_expert_solve_the_task_when_they_are_anchored() -> None:
    assert solved("anchored", "stack_cube", 3) == 3


@pytest.mark.slow
def test_anchored_execution_solves_what_raw_chunks_do_not() -> None:
    assert solved("ensemble", "stack_cube", 12) <= 3
    assert solved("anchored", "stack_cube", 12) >= 11
