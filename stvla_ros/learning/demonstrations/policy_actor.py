"""A policy that acts in turn with the expert, so that its own states get the expert's answers (DAgger, arXiv
1011.0686).
"""

import numpy as np

from stvla_ros.acting.episode import load_evaluated_policy, make_control
from stvla_ros.acting.robot_sight import RobotSight
from stvla_ros.acting.setup import parse_policy
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.policy.observer import Observer
from stvla_ros.sim.environment import Environment, Observation

# Control steps that one of them acts. The policy needs long enough to make its own mistakes, and the expert long enough
# to get past the place at which the policy is stuck.
_POLICY_STEPS = (8, 30)
_EXPERT_STEPS = (3, 10)


class PolicyActor:
    """
    :param policy: as ``stvla eval`` takes it: a checkpoint, or more.
    :raises InputError: when it cannot be loaded.
    """

    def __init__(self, policy: str, environment: Environment) -> None:
        self._evaluated = parse_policy(policy)
        self._environment = environment
        self._policy = load_evaluated_policy(self._evaluated, environment.info.robot, 0)
        self._observer = Observer(self._evaluated.inputs)
        self._sight = RobotSight(self._observer, environment.info)

    def begin(self, random: np.random.Generator) -> None:
        """A new episode starts."""
        self._random = random
        self._observer.reset()
        self._control = make_control(self._evaluated, self._policy, self._environment)
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
        return answer if self._acts and answer is not None else label
