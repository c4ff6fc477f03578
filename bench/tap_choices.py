"""Where a policy goes in tap_both after it has tapped the first cube and left it.

`python -m bench.tap_choices` takes the arguments of `stvla eval`, and one policy.

What is remembered shows there, also when the second cube is not touched, or home not passed closely enough. A policy
without a memory that passes home sees there what it saw at the beginning, and goes to the same cube again.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from bench.eval_command import run_command
from bench.watched_steps import note, run_watched
from stvla_ros.evaluation.evaluate import conclude
from stvla_ros.evaluation.plan import EvalArguments, Evaluation
from stvla_ros.sim.environment import Environment
from stvla_ros.sim.memory_tasks import TapCourse
from stvla_ros.sim.tasks import make_environment

# Horizontal distances of the tool point from a cube's centre at which it has gone there, and has left it, metres. The
# cubes are farther apart.
_THERE_M, _LEFT_M = 0.03, 0.06


def make_watched(task: str, **options: Any) -> Environment:
    """Like ``make_environment``; each episode notes where it went."""
    environment = make_environment(task, **options)
    reset, step = environment.reset, environment.step
    went: dict[str, Any] = {}

    def begin(episode_id: int, seed: int = 0) -> Any:
        went.clear()
        went.update(episode=episode_id, seed=seed, left=False, home=False, choice="")
        return reset(episode_id, seed)

    def look(action: Any) -> Any:
        result = step(action)
        course = environment.course  # type: ignore[attr-defined]
        assert isinstance(course, TapCourse)
        tool = result.observation.base_from_gripper[:3, 3]
        if course.tapped and not went["choice"]:
            away = [float(np.linalg.norm((cube - tool)[:2])) for cube in course.cubes]
            went["home"] |= course.at_home(tool)
            went["left"] |= away[course.tapped[0]] > _LEFT_M
            if went["left"] and min(away) < _THERE_M:
                went["choice"] = "same" if int(np.argmin(away)) == course.tapped[0] else "other"
                note(went)
        return result

    environment.reset, environment.step = begin, look  # type: ignore[method-assign]
    return environment


def run(arguments: EvalArguments, evaluation: Evaluation) -> int:
    results, failed, lines = run_watched(arguments, evaluation, make_watched)
    chosen = Counter((each["choice"], each["home"]) for each in lines)
    for choice in ("other", "same"):
        passed, not_passed = chosen[choice, True], chosen[choice, False]
        print(f"to the {choice} cube: {passed + not_passed}, {passed} of them through home")
    print(f"to none: {len(results) - chosen.total()} of {len(results)}")
    return conclude(results, failed, Path(arguments.output).resolve())


if __name__ == "__main__":
    run_command("tap_choices", run)
