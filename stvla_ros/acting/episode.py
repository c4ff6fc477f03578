"""Runs one episode of one policy directly on the environment."""

import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stvla_ros.acting.control_loop import Control, LockstepControl, RealtimeControl
from stvla_ros.acting.results import EpisodeKey, EpisodeResult
from stvla_ros.acting.robot_sight import RobotSight
from stvla_ros.acting.setup import MEASURED, EvaluatedPolicy
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy.base import InputNeeds, Policy, RobotState
from stvla_ros.policy.observer import Observer, Seen
from stvla_ros.policy.registry import make_policy
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.sim.environment import Environment, Observation

START_OFFSET_M = 0.01
"""Largest displacement along each axis by which a seed other than 0 moves the arm before the policy begins."""

# The inputs that an environment can supply to a policy.
GIVEN = InputNeeds(state=("joints", "base_from_tool", "opening"), history_s=float("inf"), committed=True, expert=True)
# Called with every observation, its result, and the outcome: "" while the episode runs.
Watch = Callable[[Observation, Seen, int, str], None]


@dataclass(frozen=True)
class Rules:
    """The rules for the end of an episode.

    :param until_limit: whether the episode always runs to its time limit. False: it ends with the first success, as in
        the live graph. True: success is what holds at the limit, as in the published protocol (SimplerEnv runs every
        episode to its limit and judges the last step).
    :param max_steps: time limit in control steps; 0 for the task's own.
    """

    until_limit: bool = False
    max_steps: int = 0


def start_offset(seed: int, episode: int) -> np.ndarray | None:
    """(3,) metres in the base frame, motion of the arm in its first control step; None for seed 0.

    The episode's id fixes everything in the benchmark: without this motion, a policy without random draws would do the
    same for every seed. Seed 0 is the benchmark itself.
    """
    if seed == 0:
        return None
    return np.random.default_rng([seed, episode]).uniform(-START_OFFSET_M, START_OFFSET_M, 3)


def policy_seed(key: EpisodeKey) -> int:
    """Seed of a sampling policy's draws in this episode; it does not depend on earlier episodes."""
    entropy = [key.seed, key.episode, zlib.crc32(key.task.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def load_evaluated_policy(policy: EvaluatedPolicy, robot: str, seed: int) -> Policy:
    """Make the policy for a robot and load it.

    :param seed: seed for policies that take one and were given none.
    :raises InputError: when the policy is not available.
    """
    given = policy.given_parameters()
    # One thread each: episodes run side by side in processes of their own.
    fallbacks: dict[str, Any] = {"seed": seed, "threads": 1, "resize": policy.inputs.resize}
    if key := find_embodiment(robot).unnorm_key:
        fallbacks["fallback_unnorm_key"] = key
    made = make_policy(policy.policy, {k: v for k, v in fallbacks.items() if k not in given}, **given)
    made.load()
    made.needs.require(made.name, GIVEN, "a simulator")
    return made


def robot_state(observation: Observation) -> RobotState:
    """The simulated robot's state."""
    joints = dict(zip(observation.joint_names, observation.joint_positions.tolist(), strict=True))
    return RobotState(joints, observation.base_from_gripper, observation.gripper)


def make_control(evaluated: EvaluatedPolicy, policy: Policy, environment: Environment) -> Control:
    """The control of the policy in one episode."""
    info = environment.info
    how = (policy, evaluated.resolved_execution, round(1e9 / info.control_hz), evaluated.sticky_steps(info.robot))
    caps, chunks = find_embodiment(info.robot).caps, evaluated.ensembled_chunks
    if evaluated.pacing == "lockstep":
        return LockstepControl(*how, caps=caps, chunks=chunks)
    latency = evaluated.inference_latency
    latency_s = None if latency == MEASURED else float(latency) * 1e-3
    added_s = evaluated.added_latency * 1e-3
    return RealtimeControl(*how, latency_s=latency_s, added_s=added_s, caps=caps, chunks=chunks)


def run_episode(
    environment: Environment,
    key: EpisodeKey,
    observer: Observer,
    control: Control,
    rules: Rules = Rules(),
    watch: Watch = lambda *_: None,
) -> EpisodeResult:
    """
    :param control: control, new for this episode.
    :param watch: function that gets every observation, for videos.
    :raises InputError: when the environment or the policy refuses something; the message names the episode.
    """
    try:
        return _run(environment, key, observer, control, rules, watch)
    except InputError as error:
        raise InputError(f"{key.policy} on {key.task}, seed {key.seed}, episode {key.episode}: {error}") from error


def _run(
    environment: Environment,
    key: EpisodeKey,
    observer: Observer,
    control: Control,
    rules: Rules,
    watch: Watch,
) -> EpisodeResult:
    observation = environment.reset(key.episode, key.seed)
    observer.reset()
    sight = RobotSight(observer, environment.info)
    instruction = environment.instruction
    period = round(1e9 / environment.info.control_hz)
    limit = rules.max_steps or environment.info.max_steps
    success, ever, steps, held = False, False, 0, 0
    conditions: dict[str, bool] = {}
    offset = None if environment.info.fixed_start else start_offset(key.seed, key.episode)
    if offset is not None:
        observation = environment.step(EndEffectorAction(offset, np.zeros(3), observation.gripper)).observation
        steps = 1
    began = steps
    for steps in range(began + 1, limit + 1):
        stamp = (steps - 1 - began) * period
        started = time.perf_counter()
        seen = sight.observe(observation, stamp, instruction)
        perception_s = time.perf_counter() - started
        given = seen.given
        if control.needs.state:
            given = replace(given, state=robot_state(observation))
        if control.needs.expert:
            expert = environment.expert_action()
            given = replace(given, expert_actions=None if expert is None else (expert,))
        action = control.act(given, perception_s)
        watch(observation, replace(seen, thoughts=control.thoughts), steps - 1, "")
        if action is None:
            held += 1
            action = EndEffectorAction.hold(observation.gripper)
        result = environment.step(action)
        observation, success = result.observation, result.success
        ever |= success
        for name, holds in environment.goal_conditions().items():
            conditions[name] = conditions.get(name, False) or bool(holds)
        if success and not rules.until_limit:
            break
    seen = sight.observe(observation, (steps - began) * period, instruction)
    watch(observation, seen, steps, "success" if success else "failure")
    return EpisodeResult(key, success, ever, steps, instruction, conditions, held, _milliseconds(control.inference_s))


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {"calls": 0}
    values = np.array(seconds) * 1e3
    p50, p99 = np.percentile(values, [50, 99])
    figures = {"mean": values.mean(), "p50": p50, "p99": p99}
    return {"calls": len(seconds)} | {name: round(float(value), 3) for name, value in figures.items()}
