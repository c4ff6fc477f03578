"""A policy that acts in turn with the expert, so that its own states get the expert's answers (DAgger, arXiv
1011.0686).
"""

from dataclasses import replace
from typing import Any

import numpy as np

from stvla_ros.acting.control_loop import MAX_OBSERVATION_AGE_NS
from stvla_ros.acting.episode import load_evaluated_policy, make_control
from stvla_ros.acting.robot_sight import RobotSight
from stvla_ros.acting.setup import parse_policy
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy.observer import Observer
from stvla_ros.sim.environment import Environment, Observation

# Control steps that one of them acts. The policy needs long enough to make its own mistakes, and the expert long enough
# to get past the place at which the policy is stuck.
_POLICY_STEPS = (8, 30)
_EXPERT_STEPS = (3, 10)


def check_latency(latency: tuple[float, float]) -> None:
    """:raises InputError: for a range of latencies that cannot be used, see ``PolicyActor``."""
    low, high = latency
    most = MAX_OBSERVATION_AGE_NS / 1e6
    if not 0.0 <= low <= high <= most:
        raise InputError(f"latency: expected two numbers of milliseconds, 0 <= low <= high <= {most:g}, got {latency}")


class PolicyActor:
    """
    :param policy: as ``stvla eval`` takes it: a checkpoint, or more.
    :param latency: milliseconds from an observation to its answer, while the world goes on: each episode draws its own
        between these two. Both 0: as the policy says, which usually is that the world waits.
    :raises InputError: when it cannot be loaded.
    """

    def __init__(self, policy: str, environment: Environment, latency: tuple[float, float] = (0.0, 0.0)) -> None:
        check_latency(latency)
        self._evaluated = parse_policy(policy)
        self._latency = latency
        self._environment = environment
        self._policy = load_evaluated_policy(self._evaluated, environment.info.robot, 0)
        self._observer = Observer(self._evaluated.inputs)
        self._sight = RobotSight(self._observer, environment.info)

    def begin(self, random: np.random.Generator) -> None:
        """A new episode starts."""
        self._random = random
        self._observer.reset()
        evaluated = self._evaluated
        self.source: dict[str, Any] = {}
        """What the episode's source tells about it."""
        if self._latency[1]:
            latency = random.uniform(*self._latency)
            evaluated = replace(evaluated, pacing="realtime", inference_latency=latency, added_latency=0.0)
            self.source = {"latency_ms": round(latency, 3)}
        self._control = make_control(evaluated, self._policy, self._environment)
        self._acts, self._left = True, int(random.integers(*_POLICY_STEPS, endpoint=True))

    def __call__(
        self, observation: Observation, stamp: int, instruction: str, label: EndEffectorAction
    ) -> EndEffectorAction:
        # It is asked at every step: its traces and its averaged chunks must be those it would have alone.
        seen = self._sight.observe(observation, stamp, instruction)
        answer = self._control.act(seen.given, 0.0)
        if self._left == 0:
            self._acts = not self._acts
            self._left = int(self._random.integers(*(_POLICY_STEPS if self._acts else _EXPERT_STEPS), endpoint=True))
        self._left -= 1
        if self._acts:
            return EndEffectorAction.hold(observation.gripper) if answer is None else answer
        self._control.executed(label)
        return label
