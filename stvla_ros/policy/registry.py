"""The registry of policies: finds them by name, and makes them with the given parameters."""

import inspect
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from stvla_ros.cuda_driver import check_device, check_device_name
from stvla_ros.errors import InputError
from stvla_ros.missing_packages import require_packages
from stvla_ros.plugins import Registry, subclass_of
from stvla_ros.policy.base import Policy
from stvla_ros.settings import parse_mapping

WITHOUT_NETWORK = ("expert", "random")
"""Policies that look at nothing and have no checkpoint."""
DTYPES = ("auto", "float32", "float16", "bfloat16")
# What every family's network is loaded with.
_NETWORKS = ("torch", "transformers", "safetensors", "tokenizers", "PIL")
NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})

OF_CHECKPOINT = "stvla"
"""Name of the policy that runs a checkpoint, of whatever family."""
DEFAULT_POLICY = OF_CHECKPOINT
"""The default policy."""

POLICIES: Registry[type[Policy]] = Registry(
    kind="policy",
    group="policies",
    built_in={
        "expert": "stvla_ros.policy.baselines:ExpertPolicy",
        "random": "stvla_ros.policy.baselines:RandomPolicy",
        # The class of each family's policy is found by its checkpoint (``_find``).
        OF_CHECKPOINT: "stvla_ros.policy.base:Policy",
    },
    expected="a subclass of Policy with predict",
    fits=subclass_of(Policy),
    by_place=True,
)


def make_policy(name: str, fallbacks: Mapping[str, Any] = NO_PARAMETERS, **parameters: Any) -> Policy:
    """
    :param fallbacks: further parameters, passed on if the policy takes them.
    :param parameters: parameters of the policy; it must take all of them.
    :raises InputError: for an unknown name, a parameter that the policy does not take or lacks, or a missing package.
    """
    policy = _find(name, parameters)
    taken = _check(name, policy, parameters)
    return policy(**{key: value for key, value in fallbacks.items() if key in taken}, **parameters)


def check_policy(name: str, parameters: Mapping[str, Any]) -> None:
    """Refuse now what :func:`make_policy` would refuse. Loads and downloads nothing; a checkpoint that is not on this
    machine cannot be checked.

    :param parameters: parameters that will be given.
    :raises InputError: as :func:`make_policy`.
    """
    check_device(parameters.get("device", "auto"), "device")
    if not _is_known(name, parameters):
        return
    policy = _find(name, parameters)
    _check(name, policy, parameters)
    if name == OF_CHECKPOINT:
        policy(**parameters)  # a family's policy loads nothing before it is told to


def check_loads(checkpoint: str, unnorm_key: str = "", fallback_unnorm_key: str | None = None) -> None:
    """Refuse now what loading a checkpoint would refuse, as far as this can be checked quickly: whether it is here or
    on the hub, with all its files and the action statistics. Reads no weights.

    :param checkpoint: a folder, the name of a shipped model, or a hub id.
    :param unnorm_key: data set whose statistics are asked for; empty for the robot's own.
    :param fallback_unnorm_key: the robot's own data set; None where no robot is known yet.
    :raises InputError: naming what is missing.
    """
    from stvla_ros.policy.action_statistics import select_statistics
    from stvla_ros.policy.checkpoint_places import check_exists, check_files, find_downloaded
    from stvla_ros.policy.families import family_of

    check_exists(checkpoint)
    folder = find_downloaded(checkpoint)
    if folder is None:
        return
    family = family_of(folder)
    check_files(folder, family.files)
    statistics = family.statistics(folder)
    if statistics and (unnorm_key or fallback_unnorm_key is not None):
        try:
            select_statistics(statistics, unnorm_key, fallback_unnorm_key or "")
        except InputError as error:
            raise InputError(f"checkpoint {checkpoint}: {error}") from None


def require_network(policy: str) -> None:
    """
    :param policy: name of the policy.
    :raises InputError: when it runs a network, and a Python package for that is missing.
    """
    if policy == OF_CHECKPOINT:
        require_packages(f"policy {policy}", _NETWORKS)


def check_answers(argument: str, name: str, checkpoint: str = "") -> None:
    """Tell now that a policy does not answer in words, as far as that is known, as for :func:`check_policy`.

    :param argument: name of the argument that asks for answers, for the error.
    :param name: name of the policy.
    :param checkpoint: checkpoint of the policy, if it has one.
    :raises InputError: for a policy that does not; for a name, a checkpoint or a plug-in that cannot be used.
    """
    given = {"checkpoint": checkpoint}
    if _is_known(name, given) and not (policy := _find(name, given)).answers_in_words:
        raise InputError(f"{argument}: {no_answers(policy.name if name == OF_CHECKPOINT else name)}")


def no_answers(policy: str) -> str:
    """The end of an error: a policy does not answer in words. :param policy: name of the policy."""
    return f"expected a policy that answers in words, as one of the family st4vla does; {policy} does not"


def takes_parameter(parameter: str, name: str, checkpoint: str = "") -> bool:
    """Whether a policy takes a parameter, as far as that is known, see :func:`check_policy`.

    :param checkpoint: checkpoint of the policy, if it has one.
    :raises InputError: for a name, a checkpoint or a plug-in that cannot be used.
    """
    given = {"checkpoint": checkpoint}
    return not _is_known(name, given) or parameter in inspect.signature(_find(name, given)).parameters


def given_parameters(
    name: str, own: str, checkpoint: str = "", device: str = "auto", dtype: str = "auto", unnorm_key: str = ""
) -> dict[str, Any]:
    """The parameters for :func:`make_policy`, parsed from texts as arguments and ROS parameters give them.

    A text at its default ("" or "auto") counts as not given: a policy without a network takes none of these parameters.

    :param name: name of the argument ``own`` in the error.
    :param own: further parameters of the policy, a YAML mapping.
    :raises InputError: naming the bad one.
    """
    check_device_name(device, "device")
    if dtype not in DTYPES:
        raise InputError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    texts = {"checkpoint": checkpoint, "device": device, "dtype": dtype, "unnorm_key": unnorm_key}
    given = {key: text for key, text in texts.items() if text not in ("", "auto")}
    mapping = parse_mapping(name, own or "{}")
    for key in (*texts, "resize"):
        if key in mapping:
            raise InputError(f"{name}: {key} has an argument of its own")
    return given | mapping


def _is_known(name: str, parameters: Mapping[str, Any]) -> bool:
    """False if the policy's checkpoint was not downloaded yet."""
    from stvla_ros.policy.checkpoint_places import find_downloaded

    checkpoint = parameters.get("checkpoint")
    given = name == OF_CHECKPOINT and isinstance(checkpoint, str) and checkpoint
    return not given or find_downloaded(checkpoint) is not None


def _find(name: str, parameters: Mapping[str, Any]) -> type[Policy]:
    """The policy's class. :raises InputError: for a name, a checkpoint or a plug-in that cannot be used."""
    if name != OF_CHECKPOINT:
        return POLICIES.find(name)
    POLICIES.check(name)
    # Imported here: this package would otherwise import itself through the family's policy.
    from stvla_ros.policy.checkpoint_places import find_checkpoint
    from stvla_ros.policy.families import family_of
    from stvla_ros.shared_files import default_checkpoint

    checkpoint = parameters.get("checkpoint", "")
    if not isinstance(checkpoint, str):
        raise InputError(f"checkpoint: expected a folder or a hub id, got {checkpoint!r}")
    return family_of(find_checkpoint(checkpoint or str(default_checkpoint()))).policy


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
