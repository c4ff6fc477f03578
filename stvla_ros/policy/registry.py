"""The registry of policies: by name, made with the parameters that were given."""

import inspect
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from stvla_ros.errors import InputError
from stvla_ros.plugins import Registry, subclass_of
from stvla_ros.policy.base import Policy
from stvla_ros.settings import parse_mapping

DTYPES = ("auto", "float32", "float16", "bfloat16")
NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})

POLICIES: Registry[type[Policy]] = Registry(
    kind="policy",
    group="policies",
    built_in={
        "expert": "stvla_ros.policy.baselines:ExpertPolicy",
        "random": "stvla_ros.policy.baselines:RandomPolicy",
        "stvla": "stvla_ros.policy.spatialvla.policy:StvlaPolicy",
    },
    expected="a subclass of Policy with predict",
    fits=subclass_of(Policy),
)


def policy_names() -> tuple[str, ...]:
    """Names that ``make_policy`` knows."""
    return POLICIES.names()


def make_policy(name: str, fallbacks: Mapping[str, Any] = NO_PARAMETERS, **parameters: Any) -> Policy:
    """
    :param fallbacks: further parameters, passed on where the policy takes them.
    :param parameters: the policy's own; it must take them.
    :raises InputError: for an unknown name, a parameter that the policy does not take or lacks, or a missing package.
    """
    policy = POLICIES.find(name)
    taken = _check(name, policy, parameters)
    return policy(**{key: value for key, value in fallbacks.items() if key in taken}, **parameters)


def check_policy(name: str, parameters: Iterable[str]) -> None:
    """Tell now what :func:`make_policy` would refuse. Makes and loads nothing.

    :param parameters: names of those that will be given.
    :raises InputError: as :func:`make_policy`.
    """
    _check(name, POLICIES.find(name), parameters)


def given_parameters(
    name: str, own: str, checkpoint: str = "", device: str = "auto", dtype: str = "auto", unnorm_key: str = ""
) -> dict[str, Any]:
    """The parameters for :func:`make_policy` out of texts, as arguments and ROS parameters have them.

    What has its default ("" or "auto") was not given: a policy without a network takes none of it.

    :param name: what ``own`` is called, for the error.
    :param own: the policy's further parameters, a YAML mapping.
    :raises InputError: naming the bad one.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise InputError(f"device: expected auto, cpu, cuda or cuda:N, got {device!r}")
    if dtype not in DTYPES:
        raise InputError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    texts = {"checkpoint": checkpoint, "device": device, "dtype": dtype, "unnorm_key": unnorm_key}
    given = {key: text for key, text in texts.items() if text not in ("", "auto")}
    mapping = parse_mapping(name, own or "{}")
    for key in texts:
        if key in mapping:
            raise InputError(f"{name}: {key} has an argument of its own")
    return given | mapping


def _check(name: str, policy: type[Policy], given: Iterable[str]) -> set[str]:
    """:return: the names of the parameters that the policy takes."""
    given = list(given)
    parameters = inspect.signature(policy).parameters
    named = {key for key, value in parameters.items() if value.kind is not inspect.Parameter.VAR_KEYWORD}
    if len(named) == len(parameters):
        for key in given:
            if key not in named:
                takes = f"it takes {', '.join(sorted(named))}" if named else "it takes no parameters"
                raise InputError(f"policy {name}: takes no {key}; {takes}")
    for key in sorted(named):
        if key not in given and parameters[key].default is inspect.Parameter.empty:
            raise InputError(f"policy {name}: needs a {key}")
    return named
