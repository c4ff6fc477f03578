"""What every policy offers to the action server, and the registry of policies."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError


@dataclass(frozen=True)
class PolicyInput:
    """One observation as a policy sees it.

    :param stamp: the observation's stamp, nanoseconds.
    :param rgb: (H, W, 3) uint8, clean (traces are in the depth alone).
    :param traced_depth: (S, S) float32 metres with the traces drawn in, 0 where unknown.
    :param intrinsics: (3, 3) in pixels of ``rgb``, None when the camera gave none.
    :param instruction: what to do, in words.
    :param expert_actions: the simulator's scripted answer to this observation; only for policies with ``needs_expert``.
    """

    stamp: int
    rgb: np.ndarray
    traced_depth: np.ndarray
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
    "expert": ("stvla_ros.policy.expert", "ExpertPolicy"),
}


def policy_names() -> tuple[str, ...]:
    return tuple(_POLICIES)


def register_policy(name: str, factory: Callable[..., Policy]) -> None:
    """Add a policy. :raises InputError: when the name is taken."""
    if name in _POLICIES:
        raise InputError(f"policy: the name {name!r} is taken")
    _POLICIES[name] = factory


def make_policy(name: str, **parameters: Any) -> Policy:
    """:raises InputError: for an unknown name."""
    if name not in _POLICIES:
        raise InputError(f"policy: expected one of {', '.join(_POLICIES)}, got {name!r}")
    factory = _POLICIES[name]
    if isinstance(factory, tuple):
        factory = getattr(importlib.import_module(factory[0]), factory[1])
    return factory(**parameters)
