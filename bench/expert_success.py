"""The success of the scripted expert: ``python -m bench.expert_success --task stack_cube``."""

import argparse
import itertools
import sys
import time
from collections import deque

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.sim.environment import Environment
from stvla_ros.sim.tasks import find_task, make_environment


def run_episode(
    environment: Environment, episode_id: int, *, delay: int = 0, noise: float = 0.0, seed: int = 0
) -> tuple[bool, int]:
    """Let the expert run one episode until its first success or the time limit.

    :param delay: number of steps between an observation and the step in which its answer runs.
    :param noise: standard deviation of a random part added to every translation, metres a step.
    :returns: success, and the number of steps taken.
    """
    random = np.random.default_rng([seed, episode_id])
    observation = environment.reset(episode_id, seed)
    pending = deque([EndEffectorAction.hold(observation.gripper)] * delay)
    for step in range(1, environment.info.max_steps + 1):
        pending.append(environment.expert_action())
        action = pending.popleft()
        translation = action.translation + random.normal(0.0, noise, 3)
        if environment.step(EndEffectorAction(translation, action.rotation, action.gripper)).success:
            return True, step
    return False, environment.info.max_steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--episodes", type=int, default=24, help="episodes 0 .. N-1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of each, all episodes")
    parser.add_argument("--delay", type=int, default=0, help="control steps between an observation and its answer")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation of random motion, metres a step")
    arguments = parser.parse_args()
    try:
        episodes = min(arguments.episodes, find_task(arguments.task).num_episodes)
        environment = make_environment(arguments.task, render=False)
    except InputError as error:
        sys.exit(f"expert_success: {error}")
    successes = 0
    for seed, episode_id in itertools.product(arguments.seeds, range(episodes)):
        start = time.perf_counter()
        success, steps = run_episode(environment, episode_id, delay=arguments.delay, noise=arguments.noise, seed=seed)
        successes += success
        outcome = "success" if success else "failure"
        seconds = time.perf_counter() - start
        print(f"{arguments.task} {seed}/{episode_id}: {outcome} after {steps} steps, {seconds:.1f} s", flush=True)
    print(f"{arguments.task}: {successes}/{episodes * len(arguments.seeds)}")
    environment.close()


if __name__ == "__main__":
    main()
