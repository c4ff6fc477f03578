"""The action server's parameters that choose and make the policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.policy.base import Policy
from stvla_ros.policy.registry import DTYPES, given_parameters, make_policy, policy_names


@dataclass(frozen=True)
class PolicyChoice:
    """Which policy, and with what.

    :param parameters: what was given; a policy that does not take one of them refuses it.
    :param fallbacks: what the robot suggests to policies that take it.
    """

    name: str
    parameters: Mapping[str, Any]
    fallbacks: Mapping[str, Any]

    def make(self) -> Policy:
        """:raises InputError: as ``make_policy`` and the policy itself."""
        return make_policy(self.name, self.fallbacks, **self.parameters)


def declare_policy(node: StvlaNode) -> PolicyChoice:
    """Declare the policy's parameters and read them. :raises InputError: naming the bad parameter."""
    name = node.parameter("policy", "expert", "policy that answers", choices=policy_names())
    checkpoint = node.parameter("checkpoint", "", "the policy's checkpoint: a folder or a hub id")
    device = node.parameter("device", "auto", "where the policy runs: auto, cpu, cuda or cuda:N")
    dtype = node.parameter("dtype", "auto", "number format of the policy's weights", choices=DTYPES)
    unnorm_key = node.parameter("unnorm_key", "", "key of the checkpoint's action statistics; empty for the default")
    fallback = node.parameter("fallback_unnorm_key", "", "key tried when unnorm_key is not given: the robot's own")
    own = node.parameter("policy_parameters", "{}", "further parameters of the policy, as a YAML mapping")
    return PolicyChoice(
        name,
        given_parameters("parameter policy_parameters", own, checkpoint, device, dtype, unnorm_key),
        {"fallback_unnorm_key": fallback} if fallback else {},
    )
