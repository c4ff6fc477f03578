"""Acting after SSM-VLA. A checkpoint has the latent action model first; its policy is trained on that, and comes."""

from stvla_ros.errors import InputError
from stvla_ros.policy.base import Answer, Policy, PolicyInput


class SsmVlaPolicy(Policy):
    """
    :param checkpoint: a folder, or an id on the Hugging Face hub.
    :raises InputError: for a latent action model without a policy, which today's are.
    """

    name = "ssm_vla"

    def __init__(self, checkpoint: str) -> None:
        raise InputError(
            f"checkpoint {checkpoint}: expected a policy, it is a latent action model alone: it tells what happened "
            "between pictures, and cannot act"
        )

    def predict(self, observation: PolicyInput) -> Answer:
        raise NotImplementedError
