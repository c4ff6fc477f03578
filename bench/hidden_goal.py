"""How often the goal is hidden from the camera, and what a policy does then: `python -m bench.hidden_goal` takes the
arguments of `stvla eval`, and runs the random placements of `bench.held_out`.

On the Panda's task the goal is a ball in the air. A cube that is carried between it and the camera hides it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from bench.eval_command import run_command
from bench.held_out import make_held_out
from bench.watched_steps import note, run_watched
from stvla_ros.evaluation.evaluate import conclude
from stvla_ros.evaluation.plan import EvalArguments, Evaluation
from stvla_ros.sim.environment import Environment

# Share of the goal's pixels at the episode's beginning below which it counts as hidden.
_HIDDEN = 0.1


def make_watched(task: str, **options: Any) -> Environment:
    """Like ``make_held_out``; each step in which the object is held is noted."""
    environment = make_held_out(task, **options)
    reset, step = environment.reset, environment.step
    seen: dict[str, Any] = {}

    def pixels() -> int:
        things = environment.seen_things()  # type: ignore[attr-defined]
        return int(things.masks[things.goal].sum()) if things.goal in things.masks else 0

    def begin(episode_id: int, seed: int = 0) -> Any:
        observation = reset(episode_id, seed)
        seen.update(episode=episode_id, seed=seed, at_first=max(pixels(), 1))
        return observation

    def look(action: Any) -> Any:
        hidden, before = pixels() < _HIDDEN * seen["at_first"], environment.expert_state()  # type: ignore[attr-defined]
        result = step(action)
        after = environment.expert_state()  # type: ignore[attr-defined]
        if before.grasped:
            way = [float(np.linalg.norm(each.goal_position - each.object_position)) for each in (before, after)]
            note({**seen, "hidden": hidden, "nearer_mm": 1000.0 * (way[0] - way[1])})
        return result

    environment.reset, environment.step = begin, look  # type: ignore[method-assign]
    return environment


def run(arguments: EvalArguments, evaluation: Evaluation) -> int:
    results, failed, lines = run_watched(arguments, evaluation, make_watched)
    succeeded = {(each.key.episode, each.key.seed): each.success for each in results}
    for name, wanted in (("episodes that succeeded", True), ("episodes that failed", False)):
        own = [each for each in lines if succeeded.get((each["episode"], each["seed"])) is wanted]
        print(f"{name}: {len({(each['episode'], each['seed']) for each in own})} in which the object was held")
        for hidden in (False, True):
            nearer = [each["nearer_mm"] for each in own if each["hidden"] is hidden]
            share = len(nearer) / max(len(own), 1)
            speed = f"{np.mean(nearer):.1f} mm nearer a step" if nearer else "never"
            print(f"  goal {'hidden' if hidden else 'seen'}: {len(nearer)} of {len(own)} steps ({share:.0%}), {speed}")
    return conclude(results, failed, Path(arguments.output).resolve())


if __name__ == "__main__":
    run_command("hidden_goal", run)
