"""The input and the answer of every policy: the interface between policies and the code that runs them.

With one camera, ``PolicyInput.of`` and ``PolicyInput.picture`` are enough. A policy that needs more says so in
``needs``. The code that runs it supplies these inputs, or refuses the policy at the start.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError
from stvla_ros.perception.types import TracesInDepth
from stvla_ros.policy.thoughts import Thought

ANSWER = "answer"
"""Name of the thought that is the answer of ``Policy.ask`` in words."""
MAIN_CAMERA = "image"
"""Name of the picture that every observation has, as its topic is called."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What one camera shows.

    :param rgb: (H, W, 3) uint8; clean, except with ``traces:=rgb``.
    :param depth: float32 metres, 0 where unknown: (S, S) with the traces drawn in (``traces:=depth``), else the clean
        (H, W) map registered to ``rgb``; None when there is none.
    :param intrinsics: (3, 3) in pixels of ``rgb``, None when the camera gave none.
    :param traces: traces in pixels of ``rgb``, given beside the depth with ``traces:=beside``; else None.
    """

    rgb: np.ndarray
    depth: np.ndarray | None = None
    intrinsics: np.ndarray | None = None
    traces: TracesInDepth | None = None


@dataclass(frozen=True, eq=False)
class RobotState:
    """The robot's state at the time of the pictures.

    :param joints: positions by joint name, radians or metres.
    :param base_from_tool: (4, 4) pose of the tool point in the base frame; None when it is not known.
    :param opening: gripper opening, 0 closed to 1 open; None when it is not known.
    """

    joints: Mapping[str, float]
    base_from_tool: np.ndarray | None = None
    opening: float | None = None


@dataclass(frozen=True, eq=False)
class Past:
    """An earlier observation of the same episode.

    :param stamp: stamp of the observation, nanoseconds.
    :param pictures: pictures by camera name, as in ``PolicyInput``.
    :param state: state of the robot at that time.
    """

    stamp: int
    pictures: Mapping[str, Picture]
    state: RobotState | None = None


@dataclass(frozen=True, eq=False)
class PolicyInput:
    """One observation as a policy sees it. The graph's argument ``traces`` says what the traces are drawn on.

    :param stamp: the observation's stamp, nanoseconds.
    :param pictures: pictures by camera name, ``MAIN_CAMERA`` among them; empty for a policy whose ``needs`` name no
        camera.
    :param instruction: instruction in words.
    :param state: state of the robot; given to policies whose ``needs`` name parts of it.
    :param history: earlier observations of this episode, oldest first; given to policies with ``needs.history_s``.
    :param committed: actions that are executed in the control steps from this observation on, first step first, as long
        as no newer answer replaces them; given to policies with ``needs.committed``.
    :param expert_actions: answer of the simulator's scripted expert to this observation; given to policies with
        ``needs.expert``.
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
        """The main camera's picture."""
        return self.pictures[MAIN_CAMERA]

    def before(self, seconds: float) -> Past | None:
        """The newest earlier observation that is at least ``seconds`` old; None when the history does not reach back so
        far.
        """
        latest = self.stamp - round(seconds * 1e9)
        return next((past for past in reversed(self.history) if past.stamp <= latest), None)


@dataclass(frozen=True)
class InputNeeds:
    """What a policy needs beside the instruction, or the most that the code that runs policies can supply.

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
        :param given: most that the giver can supply.
        :param giver: name of the giver in the error.
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
    :param actions: actions, at least one; the first is for the control step right after the observation.
    :param thoughts: further results by name, such as boxes or text. None of them is executed.
    """

    actions: tuple[EndEffectorAction, ...]
    thoughts: Mapping[str, Thought] = field(default_factory=dict)


class Policy(ABC):
    """Turns an observation into a chunk of actions. Called from one thread."""

    name: str
    needs: InputNeeds = InputNeeds()
    draws_at_random: bool = False
    """Whether the same observation may get different answers. Such a policy gets its own seed for every episode."""
    answers_in_words: bool = False
    """Whether the policy has ``ask``."""

    def load(self) -> None:
        """Load and warm up what is needed. :raises InputError: when it cannot be had."""

    def reset(self) -> None:
        """A new instruction or episode starts. Nothing from before may influence later answers; random draws start
        again, too.
        """

    def reseed(self, seed: int) -> None:
        """Draw from here on as if the policy had been made with this seed. Every policy that draws at random must have
        this method: loading a network anew for every episode takes longer than the episode.

        :raises InputError: for a policy that cannot do so.
        """
        raise InputError(f"policy {self.name}: expected reseed(), which a policy that draws at random must have")

    def ask(self, picture: Picture, question: str, given_up: Callable[[], bool]) -> Mapping[str, Thought]:
        """The answer to a person's question about a picture. Called from another thread than ``predict``, also while
        that runs: neither may wait for the other, and no answer changes what is done.

        :param picture: picture of the main camera.
        :param question: question in words.
        :param given_up: function that tells whether nobody waits any more. Call it now and then: the answer may then be
            cut off.
        :returns: thoughts by name, the words themselves as ``ANSWER``.
        :raises InputError: for a question that cannot be used; for a policy that cannot answer.
        """
        raise InputError(f"policy {self.name}: it does not answer in words, as one of the family st4vla does")

    @abstractmethod
    def predict(self, observation: PolicyInput) -> Answer:
        """The answer to an observation.

        :raises InputError: for an observation that cannot be used.
        """
