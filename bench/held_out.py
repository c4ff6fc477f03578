"""`stvla eval` on random placements, which choices are made on: `python -m bench.held_out` with its arguments.

Which checkpoint, which execution, how many steps: decided on the official placements, these would say nothing new
afterwards. Episode ids and seeds mean placements of their own here, never an official one, and none of a recording's.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from stvla_ros.errors import InputError
from stvla_ros.evaluation.evaluate import conclude, run_evaluation, table_of
from stvla_ros.evaluation.plan import EvalArguments, plan_evaluation
from stvla_ros.evaluation.tables import as_markdown
from stvla_ros.sim.environment import Environment, Observation
from stvla_ros.sim.tasks import make_environment

# Recordings draw from other entropy.
_HELD_OUT = 0x5EED


def make_held_out(task: str, **options: Any) -> Environment:
    """As ``make_environment``; each episode stands on a random placement of its own."""
    environment = make_environment(task, **options)

    def reset(episode_id: int, seed: int = 0) -> Observation:
        entropy = np.random.SeedSequence([_HELD_OUT, seed, episode_id])
        return environment.reset_random(int(entropy.generate_state(1)[0]))

    environment.reset = reset  # type: ignore[method-assign]
    return environment


def main() -> int:
    arguments = tyro.cli(EvalArguments, prog="held_out")
    evaluation = plan_evaluation(arguments)
    results, failed = run_evaluation(evaluation, arguments, make_held_out)
    if results:
        print(as_markdown(table_of(evaluation, results)))
    return conclude(results, failed, Path(arguments.output).resolve())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"held_out: {error}")
