"""The policies without a network: one relays the simulator's scripted expert, the other draws random actions.

The first lets the whole loop run and be timed; the second is what any policy must beat.
"""

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy.base import Answer, InputNeeds, Policy, PolicyInput


class ExpertPolicy(Policy):
    name = "expert"
    needs = InputNeeds(cameras=(), expert=True)

    def predict(self, observation: PolicyInput) -> Answer:
        if not observation.expert_actions:
            raise InputError(
                "policy expert: expected the simulator's expert actions, got none (is there an expert for this task?)"
            )
        return Answer(observation.expert_actions)


# The most that the scripted expert moves in a control step, and what usual demonstrations turn in one.
MAX_TRANSLATION_M = 0.03
MAX_ROTATION_RAD = 0.1


class RandomPolicy(Policy):
    """One action a chunk, drawn evenly: each component of the translation within ±0.03 m and of the rotation vector
    within ±0.1 rad, the gripper open or closed with equal chances.

    :param seed: seed of the sequence, which begins anew with each ``reset``. A whole number from 0.
    :raises InputError: for another seed.
    """

    name = "random"
    needs = InputNeeds(cameras=())
    draws_at_random = True

    def __init__(self, seed: int = 0) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise InputError(f"seed: expected a whole number from 0, got {seed!r}")
        self._seed = seed
        self.reset()

    def reseed(self, seed: int) -> None:
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        self._random = np.random.default_rng(self._seed)

    def predict(self, observation: PolicyInput) -> Answer:
        translation = self._random.uniform(-MAX_TRANSLATION_M, MAX_TRANSLATION_M, 3)
        rotation = self._random.uniform(-MAX_ROTATION_RAD, MAX_ROTATION_RAD, 3)
        return Answer((EndEffectorAction(translation, rotation, float(self._random.integers(2))),))
