"""`stvla eval` on random placements, for making choices: `python -m bench.held_out` with its arguments.

If a checkpoint, an execution or a number of steps were chosen on the official placements, these could not test the
choice any more. Here, episode ids and seeds stand for random placements, never an official one and none of a
recording's.
"""

from pathlib import Path
from typing import Any

import numpy as np

from bench.eval_command import run_command
from stvla_ros.evaluation.evaluate import conclude, run_evaluation, table_of
from stvla_ros.evaluation.plan import EvalArguments, Evaluation
from stvla_ros.evaluation.tables import as_markdown
from stvla_ros.sim.environment import Environment, Observation
from stvla_ros.sim.tasks import make_environment

# Recordings draw from other entropy.
_HELD_OUT = 0x5EED


def make_held_out(task: str, **options: Any) -> Environment:
    """Like ``make_environment``, but each episode has a random placement of its own."""
    environment = make_environment(task, **options)
    official = environment.reset

    def reset(episode_id: int, seed: int = 0) -> Observation:
        entropy = np.random.SeedSequence([_HELD_OUT, seed, episode_id])
        # Random placements may look at an official one first. What stands there else may be around this one.
        outermost = environment.reset
        environment.reset = official  # type: ignore[method-assign]
        try:
            return environment.reset_random(int(entropy.generate_state(1)[0]))
        finally:
            environment.reset = outermost  # type: ignore[method-assign]

    environment.reset = reset  # type: ignore[method-assign]
    return environment


def run(arguments: EvalArguments, evaluation: Evaluation) -> int:
    results, failed = run_evaluation(evaluation, arguments, make_held_out)
    if results:
        print(as_markdown(table_of(evaluation, results)))
    return conclude(results, failed, Path(arguments.output).resolve())


if __name__ == "__main__":
    run_command("held_out", run)
