"""Lets a policy and the expert act in turn, so that the expert also answers in the policy's own states (DAgger, arXiv
1011.0686).
"""

from dataclasses import replace
from typing import Any

import numpy as np

from stvla_ros.acting.control_loop import MAX_OBSERVATION_AGE_NS
from stvla_ros.acting.episode import load_evaluated_policy, make_control
from stvla_ros.acting.policy_texts import parse_policy
from stvla_ros.acting.robot_sight import RobotSight
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy.observer import Observer
from stvla_ros.sim.environment import Environment, Observation

# Number of control steps in one turn. The policy needs enough to make its own mistakes, the expert enough to get past
# the place where the policy is stuck.
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
    :param policy: policy as in ``stvla eval``: a checkpoint, or a name with parameters.
    :param latency: milliseconds from an observation to its answer, while the world goes on. Each episode draws its own
        latency between the two numbers. Both 0: as the policy says, which usually means that the world waits.
    :raises InputError: when the policy cannot be loaded.
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
        """Entries for the episode's ``source``."""
        if self._latency[1]:
            latency = random.uniform(*self._latency)
            evaluated = replace(evaluated, pacing="realtime", inference_latency=latency, added_latency=0.0)
            self.source = {"latency_ms": round(latency, 3)}
        self._control = make_control(evaluated, self._policy, self._environment)
        self._acts, self._left = True, int(random.integers(*_POLICY_STEPS, endpoint=True))

    def __call__(
        self, observation: Observation, stamp: int, instruction: str, label: EndEffectorAction
    ) -> EndEffectorAction:
        # The policy is asked at every step: its traces and its averaged chunks must be the same as if it acted alone.
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
