"""What every policy is given and answers: the seam between policies and whoever runs them.

One camera and nothing else is the usual case, and ``PolicyInput.of`` and ``PolicyInput.picture`` are for it. A policy
that wants more says so in ``needs``; whoever runs it fills in what was asked for, or refuses the policy at the start.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.perception.types import TracesInDepth
from stvla_ros.policy.thoughts import Thought

MAIN_CAMERA = "image"
"""Name of the picture that every observation has, as its topic is called."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What one camera shows.

    :param rgb: (H, W, 3) uint8; clean, except with ``traces:=rgb``.
    :param depth: float32 metres, 0 where unknown: (S, S) with the traces drawn in (``traces:=depth``), else the clean
        (H, W) map registered to ``rgb``; None when there is none.
    :param intrinsics: (3, 3) in pixels of ``rgb``, None when the camera gave none.
    :param traces: in pixels of ``rgb``, where they are given beside the depth (``traces:=beside``); else None.
    """

    rgb: np.ndarray
    depth: np.ndarray | None = None
    intrinsics: np.ndarray | None = None
    traces: TracesInDepth | None = None


@dataclass(frozen=True, eq=False)
class RobotState:
    """What the robot says of itself at the time of the pictures.

    :param joints: positions by joint name, radians or metres.
    :param base_from_tool: (4, 4) pose of the tool point in the base frame; None when nobody tells it.
    :param opening: of the gripper, 0 closed to 1 open; None when nobody tells it.
    """

    joints: Mapping[str, float]
    base_from_tool: np.ndarray | None = None
    opening: float | None = None


@dataclass(frozen=True, eq=False)
class Past:
    """An earlier observation of the same episode.

    :param stamp: its stamp, nanoseconds.
    :param pictures: by camera, as in ``PolicyInput``.
    :param state: the robot's then.
    """

    stamp: int
    pictures: Mapping[str, Picture]
    state: RobotState | None = None


@dataclass(frozen=True, eq=False)
class PolicyInput:
    """One observation as a policy sees it. What the traces are drawn on is the graph's argument ``traces``.

    :param stamp: the observation's stamp, nanoseconds.
    :param pictures: by camera; with ``MAIN_CAMERA``, or none at all for a policy whose ``needs`` name no camera.
    :param instruction: what to do, in words.
    :param state: the robot's; for policies whose ``needs`` name parts of it.
    :param history: earlier observations of this episode, oldest first; for policies with ``needs.history_s``.
    :param committed: what is executed in the control steps from this observation on, first step first, as long as no
        newer answer replaces it; for policies with ``needs.committed``.
    :param expert_actions: the simulator's scripted answer to this observation; for policies with ``needs.expert``.
    """

    stamp: int
    pictures: Mapping[str, Picture]
    instruction: str
    state: RobotState | None = None
    history: tuple[Past, ...] = ()
    committed: tuple[EndEffectorAction, ...] = ()
    expert_actions: tuple[EndEffectorAction, ...] | None = None

    @classmethod
    def of(
        cls,
        stamp: int,
        rgb: np.ndarray,
        depth: np.ndarray | None = None,
        intrinsics: np.ndarray | None = None,
        instruction: str = "",
    ) -> "PolicyInput":
        """An observation of the main camera alone; parameters as in ``Picture``."""
        return cls(stamp, {MAIN_CAMERA: Picture(rgb, depth, intrinsics)}, instruction)

    @property
    def picture(self) -> Picture:
        """The main camera's."""
        return self.pictures[MAIN_CAMERA]

    def before(self, seconds: float) -> Past | None:
        """The newest earlier observation that is at least so old; None when the history does not reach back so far."""
        latest = self.stamp - round(seconds * 1e9)
        return next((past for past in reversed(self.history) if past.stamp <= latest), None)


@dataclass(frozen=True)
class InputNeeds:
    """What a policy must be given beside the instruction; or, of whoever runs policies, what it can give at most.

    :param cameras: names of the pictures.
    :param state: parts of ``RobotState``: ``joints``, ``base_from_tool``, ``opening``.
    :param history_s: seconds that ``history`` reaches back.
    :param committed: whether ``committed`` is filled.
    :param expert: whether ``expert_actions`` are filled.
    """

    cameras: tuple[str, ...] = (MAIN_CAMERA,)
    state: tuple[str, ...] = ()
    history_s: float = 0.0
    committed: bool = False
    expert: bool = False

    def require(self, policy: str, given: "InputNeeds", giver: str) -> None:
        """
        :param policy: name of the policy whose needs these are.
        :param given: the most that the giver can give.
        :param giver: what the error calls it.
        :raises InputError: when something is needed that is not given.
        """
        lacking = [f"a camera {name!r}" for name in self.cameras if name not in given.cameras]
        lacking += [f"the robot's {part}" for part in self.state if part not in given.state]
        if self.history_s > given.history_s:
            lacking.append(f"{self.history_s:g} s of history")
        lacking += ["the actions already committed"] if self.committed > given.committed else []
        lacking += ["the scripted expert's actions"] if self.expert > given.expert else []
        if lacking:
            raise InputError(f"policy {policy}: needs {', '.join(lacking)}, which {giver} does not give")


@dataclass(frozen=True)
class Answer:
    """
    :param actions: at least one, the first for the control step right after the observation.
    :param thoughts: what the policy made of the observation on its way there, by name; nothing is executed of it.
    """

    actions: tuple[EndEffectorAction, ...]
    thoughts: Mapping[str, Thought] = field(default_factory=dict)


class Policy(ABC):
    """Turns an observation into a chunk of actions. Called from one thread."""

    name: str
    needs: InputNeeds = InputNeeds()
    draws_at_random: bool = False
    """Whether the same observation may be answered otherwise: it then gets a seed of its own for every episode."""

    def load(self) -> None:
        """Load and warm up what is needed. :raises InputError: when it cannot be had."""

    def reset(self) -> None:
        """A new instruction or episode starts. From here on nothing depends on what was before, draws included."""

    def reseed(self, seed: int) -> None:
        """Draw from here on as if the policy had been made with this seed. Whoever draws at random has it: loading a
        network anew for every episode takes longer than the episode.

        :raises InputError: for a policy that cannot do so.
        """
        raise InputError(f"policy {self.name}: expected reseed(), which a policy that draws at random must have")

    @abstractmethod
    def predict(self, observation: PolicyInput) -> Answer:
        """The answer to an observation.

        :raises InputError: for an observation that cannot be used.
        """
