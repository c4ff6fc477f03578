"""What every policy offers to the action server, and the registry of policies."""

import importlib
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from stvla_ros.shared_files import parse_mapping
from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError

DTYPES = ("auto", "float32", "float16", "bfloat16")
NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class PolicyInput:
    """One observation as a policy sees it. What the traces are drawn on is the graph's argument ``traces``.

    :param stamp: the observation's stamp, nanoseconds.
    :param rgb: (H, W, 3) uint8; clean, except with ``traces:=rgb``.
    :param depth: float32 metres, 0 where unknown: (S, S) with the traces drawn in (``traces:=depth``), else the clean
        (H, W) map registered to ``rgb``.
    :param intrinsics: (3, 3) in pixels of ``rgb``, None when the camera gave none.
    :param instruction: what to do, in words.
    :param expert_actions: the simulator's scripted answer to this observation; only for policies with ``needs_expert``.
    """

    stamp: int
    rgb: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray | None
    instruction: str
    expert_actions: tuple[EndEffectorAction, ...] | None = None


class Policy(ABC):
    """Turns an observation into a chunk of actions. Called from one thread."""

    name: str
    needs_expert: bool = False

    def load(self) -> None:
        """Load and warm up what is needed. :raises InputError: when it cannot be had."""

    def reset(self) -> None:
        """A new instruction starts."""

    @abstractmethod
    def predict(self, observation: PolicyInput) -> Sequence[EndEffectorAction]:
        """At least one action, the first for the control step right after the observation.

        :raises InputError: for an observation that cannot be used.
        """


# Module and class: imported when made, so that listing policies loads nothing.
_POLICIES: dict[str, tuple[str, str] | Callable[..., Policy]] = {
    "expert": ("stvla_ros.policy.baselines", "ExpertPolicy"),
    "random": ("stvla_ros.policy.baselines", "RandomPolicy"),
    "stvla": ("stvla_ros.policy.spatialvla.policy", "StvlaPolicy"),
}


def policy_names() -> tuple[str, ...]:
    return tuple(_POLICIES)


def register_policy(name: str, factory: Callable[..., Policy]) -> None:
    """Add a policy: ``factory(**parameters)`` makes it. :raises InputError: when the name is taken."""
    if name in _POLICIES:
        raise InputError(f"policy: the name {name!r} is taken")
    _POLICIES[name] = factory


def make_policy(name: str, fallbacks: Mapping[str, Any] = NO_PARAMETERS, **parameters: Any) -> Policy:
    """
    :param fallbacks: further parameters, passed on where the policy takes them.
    :param parameters: the policy's own; it must take them.
    :raises InputError: for an unknown name, a parameter that the policy does not take or lacks, or a missing package.
    """
    factory = _factory(name)
    taken = _check(name, factory, parameters)
    return factory(**{key: value for key, value in fallbacks.items() if key in taken}, **parameters)


def check_policy(name: str, parameters: Iterable[str]) -> None:
    """Tell now what :func:`make_policy` would refuse. Makes and loads nothing.

    :param parameters: names of those that will be given.
    :raises InputError: as :func:`make_policy`.
    """
    _check(name, _factory(name), parameters)


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


def _factory(name: str) -> Callable[..., Policy]:
    if name not in _POLICIES:
        raise InputError(f"policy: expected one of {', '.join(_POLICIES)}, got {name!r}")
    factory = _POLICIES[name]
    if not isinstance(factory, tuple):
        return factory
    module, attribute = factory
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise InputError(
            f"policy {name}: needs the package {error.name!r}: pip install -r requirements/models.txt"
        ) from error


def _check(name: str, factory: Callable[..., Policy], given: Iterable[str]) -> set[str]:
    """:return: the names of the parameters that the factory takes."""
    given = list(given)
    parameters = inspect.signature(factory).parameters
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
