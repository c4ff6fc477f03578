"""What an evaluation says at its end, to a person and to a script."""

from pathlib import Path

import pytest

from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.evaluation.evaluate import conclude

KEY = EpisodeKey("a", "stvla", 0, 0)
RESULT = EpisodeResult(KEY, True, True, 10)


def test_with_all_results_it_ends_well_and_names_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude([RESULT], [], Path("/somewhere")) == 0
    said = capsys.readouterr()
    assert said.out == "results in /somewhere\n" and not said.err


def test_missing_episodes_are_an_error_also_beside_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude([RESULT], [KEY, KEY], Path("/somewhere")) == 1
    assert "error: 2 episodes gave no result; the same command tries them again" in capsys.readouterr().err


def test_without_any_result_none_are_promised(capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude([], [KEY], Path("/somewhere")) == 1
    assert capsys.readouterr().out == "no results\n"
