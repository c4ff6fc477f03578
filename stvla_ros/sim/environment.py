"""The interface between the simulator bridge and any simulator."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.errors import InputError

HALVES = ("left", "right")
"""Halves of the part of a table on which a task's objects are placed, as its camera sees them."""


@dataclass(frozen=True)
class EnvironmentInfo:
    """The constant facts about an environment.

    :param task: name of the task in this package, e.g. ``stack_cube``.
    :param robot: name of the embodiment, e.g. ``widowx``, ``google_robot``, ``panda``.
    :param control_hz: control steps per second of simulated time.
    :param max_steps: the benchmark's time limit in control steps.
    :param num_episodes: number of official initial configurations; episode ids are 0 .. num_episodes-1.
    :param base_frame: name of the robot's base link, in which all poses are expressed.
    :param camera_frame: name of the camera's optical frame (REP-103: z forward, x right, y down).
    :param urdf: the robot's URDF file, if there is one.
    :param fixed_start: whether the arm must begin where the simulator puts it; evaluation's seeds then do not move it
        first.
    """

    task: str
    robot: str
    control_hz: float
    max_steps: int
    num_episodes: int
    base_frame: str
    camera_frame: str
    urdf: Path | None = None
    fixed_start: bool = False


@dataclass(frozen=True)
class Observation:
    """The robot's sensor readings after a reset or a control step.

    :param rgb: (H, W, 3) uint8.
    :param depth: (H, W) uint16 millimetres or float32 metres, registered to ``rgb``; 0 where unknown (REP-118).
    :param intrinsics: (3, 3) float64 pinhole matrix in pixels of ``rgb``.
    :param base_from_camera: (4, 4) float64, pose of the camera's optical frame in the robot's base frame, metres.
    :param base_from_gripper: (4, 4) float64, pose of the gripper's tool point in the robot's base frame, metres.
    :param joint_names: names as in the URDF.
    :param joint_positions: (J,) float64, radians or metres.
    :param gripper: gripper opening, 0 closed to 1 open.
    :param base_from_link: pose of every link of the robot in its base frame, by link name (for tf).
    """

    rgb: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray
    base_from_camera: np.ndarray
    base_from_gripper: np.ndarray
    joint_names: tuple[str, ...]
    joint_positions: np.ndarray
    gripper: float
    base_from_link: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class StepResult:
    """Result of one control step: the new observation and whether the task's success condition holds now."""

    observation: Observation
    success: bool


@dataclass(frozen=True, eq=False)
class SeenThings:
    """The places of nameable things in the last picture: privileged knowledge of a simulator.

    :param masks: (H, W) bool by name, True where the thing is visible; all False while it is hidden. At least one.
    :param moved: name of the object to move; empty if the task has no single one.
    :param goal: name of the thing that it must be brought to; empty if that is a place without an appearance of its
        own.
    """

    masks: Mapping[str, np.ndarray]
    moved: str = ""
    goal: str = ""


class Environment(ABC):
    """One simulated robot with one task and one camera. Not thread-safe; all calls come from one thread."""

    info: EnvironmentInfo

    @abstractmethod
    def reset(self, episode_id: int, seed: int = 0) -> Observation:
        """Start the given official episode. The same id and seed give the same episode, bit for bit.

        :raises InputError: when there is no such episode.
        """

    def reset_random(self, seed: int, half: str = "") -> Observation:
        """Start an episode for demonstrations: objects placed at random (``regions.py``), never as in an official
        episode. The same arguments give the same episode, bit for bit.

        :param half: half of the table, one of ``HALVES``, in which all that is drawn is placed; empty: the whole table.
        :raises InputError: when the task has no random placements, or none in halves.
        """
        raise InputError(f"task {self.info.task}: it has no random placements, only its official episodes")

    @abstractmethod
    def step(self, action: EndEffectorAction) -> StepResult:
        """Run one control period."""

    def half(self) -> str:
        """The half of the table in which the object to move was placed at the last reset, one of ``HALVES``.

        :raises InputError: when the task's table is not divided.
        """
        raise InputError(f"task {self.info.task}: its table is not divided into halves")

    def drive(self, joints: np.ndarray, gripper: float, seconds: float) -> None:
        """Steer the arm's joints towards positions for some time, bypassing the controller that :meth:`step` uses.

        :param joints: (n,) radians, target positions of the arm's joints in the URDF's order.
        :param gripper: wanted opening, 0 closed to 1 open.
        :raises InputError: when the simulator does not offer this.
        """
        raise InputError(f"task {self.info.task}: its simulator cannot be driven joint by joint")

    def observe(self) -> StepResult:
        """The result that a control step would return now, without taking one; for use after :meth:`drive`."""
        raise InputError(f"task {self.info.task}: its simulator cannot be driven joint by joint")

    def arm_state(self) -> tuple[np.ndarray, float]:
        """Positions of the arm's joints (n,), radians, and the opening; no picture is rendered."""
        raise InputError(f"task {self.info.task}: its simulator cannot be driven joint by joint")

    @property
    @abstractmethod
    def instruction(self) -> str:
        """The current episode's natural-language instruction."""

    def expert_action(self) -> EndEffectorAction | None:
        """The privileged scripted expert's action for the current state; None if there is no expert for the task."""
        return None

    def goal_conditions(self) -> Mapping[str, bool]:
        """The parts of the task's goal that hold after the last step, by name; empty if only success is known."""
        return {}

    def scene_points(self) -> np.ndarray | None:
        """(3, 3) float64 positions of the object to move, the goal and the gripper's tool point in the camera's optical
        frame, metres; None if the simulator cannot tell.
        """
        return None

    def seen_things(self) -> SeenThings | None:
        """The things in the last observation's picture; None if the simulator cannot tell."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Free the simulator. Safe to call twice."""


def reset_at_random(environment: Environment, seed: int, half: str) -> Observation:
    """``environment.reset_random``, also of another package's environment that does not know halves.

    :raises InputError: as there, and for a half of an environment that has none.
    """
    if not half:
        return environment.reset_random(seed)
    if "half" not in inspect.signature(environment.reset_random).parameters:
        raise InputError(f"half: expected none, task {environment.info.task} has no halves of the table")
    return environment.reset_random(seed, half)
