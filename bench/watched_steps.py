"""Lines that environments of an evaluation note while a policy acts, from whatever process they are in."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stvla_ros.acting.results import EpisodeResult
from stvla_ros.evaluation.evaluate import run_evaluation
from stvla_ros.evaluation.plan import EvalArguments, Evaluation
from stvla_ros.sim.environment import Environment

_FILE = "STVLA_WATCHED_STEPS"


def note(line: Mapping[str, Any]) -> None:
    """Add a line."""
    with open(os.environ[_FILE], "a") as file:
        print(json.dumps(line), file=file)


def run_watched(
    arguments: EvalArguments, evaluation: Evaluation, make: Callable[..., Environment]
) -> tuple[Sequence[EpisodeResult], Any, list[dict[str, Any]]]:
    """``run_evaluation``, whose results come with the lines that were noted; an evaluation that goes on keeps them.

    :param make: function that makes the environments that note.
    """
    file = Path(arguments.output).resolve() / "watched.jsonl"
    os.environ[_FILE] = str(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    results, failed = run_evaluation(evaluation, arguments, make)
    return results, failed, [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
