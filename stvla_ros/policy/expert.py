"""The policy that relays the simulator's scripted expert, so that the whole loop runs without a network."""

from collections.abc import Sequence

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.policy.base import Policy, PolicyInput


class ExpertPolicy(Policy):
    name = "expert"
    needs_expert = True

    def predict(self, observation: PolicyInput) -> Sequence[EndEffectorAction]:
        if not observation.expert_actions:
            raise InputError(
                "policy expert: expected the simulator's expert actions, got none (is there an expert for this task?)"
            )
        return observation.expert_actions
