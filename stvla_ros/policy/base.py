"""What every policy offers to the action server, and the registry of policies."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stvla_ros.control.actions import EndEffectorAction


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
