"""The action server's parameters: the choice of the policy, its inputs and its execution."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stvla_ros.control.chunk_execution import EXECUTIONS
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.policy.base import Policy
from stvla_ros.policy.inputs import RESIZE_METHODS, TRACES
from stvla_ros.policy.registry import DEFAULT_POLICY, DTYPES, POLICIES, given_parameters, make_policy
from stvla_ros.policy.training_record import AUTO, check_beside, checkpoint_of, resolve


@dataclass(frozen=True)
class PolicyChoice:
    """A policy with its parameters.

    :param parameters: given parameters; a policy that does not take one of them refuses it.
    :param fallbacks: further parameters, passed on if the policy takes them.
    :param traces: picture or map that the traces are drawn on, one of ``TRACES``.
    :param execution: execution of its chunks, one of ``EXECUTIONS``.
    """

    name: str
    parameters: Mapping[str, Any]
    fallbacks: Mapping[str, Any]
    traces: str
    execution: str

    def make(self) -> Policy:
        """:raises InputError: as ``make_policy`` and the policy itself."""
        return make_policy(self.name, self.fallbacks, **self.parameters)


def declare_policy(node: StvlaNode) -> PolicyChoice:
    """Declare the policy's parameters and read them.

    :raises InputError: naming the bad parameter, or the checkpoint's record that cannot be used.
    """
    name = node.parameter("policy", DEFAULT_POLICY, f"policy that answers: {POLICIES.choices()}")
    POLICIES.check(name, "parameter policy")
    checkpoint = node.parameter("checkpoint", "", "the policy's checkpoint: a folder or a hub id")
    device = node.parameter("device", "auto", "where the policy runs: auto, cpu, cuda or cuda:N")
    dtype = node.parameter("dtype", "auto", "number format of the policy's weights", choices=DTYPES)
    unnorm_key = node.parameter("unnorm_key", "", "key of the checkpoint's action statistics; empty for the default")
    fallback = node.parameter("fallback_unnorm_key", "", "key tried when unnorm_key is not given: the robot's own")
    own = node.parameter("policy_parameters", "{}", "further parameters of the policy, as a YAML mapping")
    auto = "auto: as the checkpoint was trained"
    traces = node.parameter("traces", AUTO, f"what the traces are drawn on; {auto}", choices=(AUTO, *TRACES))
    resize = node.parameter(
        "resize", AUTO, f"how pictures come to the policy's size; {auto}", choices=(AUTO, *RESIZE_METHODS)
    )
    execution = node.parameter("execution", AUTO, f"how chunks are executed; {auto}", choices=(AUTO, *EXECUTIONS))
    if AUTO in (traces, resize, execution):
        trained = resolve(checkpoint_of(name, checkpoint), {})
        for note in trained.notes:
            node.get_logger().warning(note)
        traces = trained.inputs.traces if traces == AUTO else traces
        resize = trained.inputs.resize if resize == AUTO else resize
        execution = trained.execution if execution == AUTO else execution
    check_beside(checkpoint_of(name, checkpoint), traces)
    return PolicyChoice(
        name,
        given_parameters("parameter policy_parameters", own, checkpoint, device, dtype, unnorm_key),
        {"resize": resize} | ({"fallback_unnorm_key": fallback} if fallback else {}),
        traces,
        execution,
    )
