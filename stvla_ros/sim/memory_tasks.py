"""Tasks that cannot be done without memory: their rules, and an expert that knows the phase. No simulator here.

A policy without memory could still leave itself a note in the world: put the cube down a little to the left, turn the
gripper. So both tasks have a home point, where the world forgets. When the arm passes it, the arm is put back exactly
to its start, and an object on the disc exactly to the disc's middle. What a policy then sees tells nothing about the
past, and its chances can be computed (memoryless.py).

Positions are in the robot's base frame (z up), metres.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.sim.expert import (
    MAX_ROTATION,
    MAX_TRANSLATION,
    ExpertState,
    GraspPlan,
    GripperAxes,
    expert_action,
    limited,
)
from stvla_ros.sim.memoryless import RETURNED_M

HOME_RADIUS_M = 0.02
"""The home point is passed when the tool point is this near to it."""
DISC_RADIUS_M = 0.04
CUBE_HALF_M = 0.02

_RESTING_M = 0.005  # largest difference of a standing cube's centre from half an edge above the table
_GAIN = 0.4  # share of the remaining way that the expert goes in one step, as in expert.py
_CLEAR = 0.06  # metres above the cube from which the gripper may move sideways
_PRESSED = 0.02  # metres below a cube's top where a tap aims: a policy that is a few millimetres off touches it as well
_OVER = 0.008  # metres sideways within which the gripper goes down to tap
_FUNNEL = 0.02  # further metres, up to where it must be at full height
# The goal is a place on the table: the cube's origin is half an edge above it.
_PLAN = GraspPlan(
    grasp_height=0.0,
    carry=0.08,
    release=CUBE_HALF_M + 0.006,
    symmetry=np.pi / 2,
    heading=-np.pi / 2,
    placed_radius=0.01,
)


class Course(ABC):
    """One episode's progress.

    :param home: (4, 4) pose of the tool point at the start of the episode.
    """

    home: np.ndarray

    def at_home(self, tool: np.ndarray) -> bool:
        """:param tool: (3,) position of the tool point."""
        return bool(np.linalg.norm(tool - self.home[:3, 3]) < HOME_RADIUS_M)

    @property
    @abstractmethod
    def solved(self) -> bool:
        """Whether everything is done after the last step."""

    @abstractmethod
    def conditions(self) -> Mapping[str, bool]:
        """The parts that are done, by name."""

    @abstractmethod
    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """(3,) positions of the object that must be moved or touched next, and of its goal."""

    @abstractmethod
    def expert_action(self, state: ExpertState, axes: GripperAxes) -> EndEffectorAction:
        """The expert's action now."""

    def _go_home(self, state: ExpertState, obstacle: np.ndarray, gripper: float) -> EndEffectorAction:
        """Up from an object, and then home once the fingers are clear of it."""
        tool = state.base_from_gripper[:3, 3]
        aim = self.home[:3, 3].copy()
        low = float(np.clip((obstacle[2] + _CLEAR - tool[2]) / (_CLEAR / 2), 0.0, 1.0))
        aim[:2] += low * (tool[:2] - aim[:2])
        return _steer(state, aim, self.home[:3, :3], gripper)


@dataclass
class ReturnCourse(Course):
    """Bring the cube to the disc, pass home, and bring it back.

    :param disc: (3,) middle of the disc, on the table.
    :param start: (3,) centre of the cube at the start of the episode.
    """

    home: np.ndarray
    disc: np.ndarray
    start: np.ndarray
    brought: bool = False
    _cube: np.ndarray = field(init=False)
    _released: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        self._cube = self.start

    def step(self, cube: np.ndarray, released: bool, tool: np.ndarray) -> bool:
        """Update the progress after a control step.

        :param cube: (3,) centre of the cube.
        :param released: whether the cube is free.
        :param tool: (3,) position of the tool point.
        :returns: whether the world forgets now.
        """
        self._cube, self._released = cube, released
        if self.brought or not (self._on_disc and self.at_home(tool)):
            return False
        self.brought = True
        return True

    @property
    def _stands(self) -> bool:
        return self._released and abs(self._cube[2] - self.disc[2] - CUBE_HALF_M) < _RESTING_M

    @property
    def _on_disc(self) -> bool:
        return self._stands and bool(np.linalg.norm((self._cube - self.disc)[:2]) < DISC_RADIUS_M)

    @property
    def solved(self) -> bool:
        return self.brought and self._stands and bool(np.linalg.norm((self._cube - self.start)[:2]) <= RETURNED_M)

    def conditions(self) -> Mapping[str, bool]:
        return {"brought": self.brought, "returned": self.solved}

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        return self._cube, self.start - [0.0, 0.0, CUBE_HALF_M] if self.brought else self.disc

    def expert_action(self, state: ExpertState, axes: GripperAxes) -> EndEffectorAction:
        if not self.brought and self._on_disc:
            return self._go_home(state, self._cube, 1.0)
        return expert_action(replace(state, goal_position=self.points()[1]), _PLAN, axes)


@dataclass
class TapCourse(Course):
    """Touch each of two cubes in a separate outing. An outing ends at home. The episode is lost if a cube is touched
    again in a second outing, or both in one.

    :param cubes: (3,) centres of the two cubes.
    """

    home: np.ndarray
    cubes: Sequence[np.ndarray]
    tapped: list[int] = field(default_factory=list)
    lost: bool = False
    _outing: int | None = None

    def step(self, touched: Sequence[bool], tool: np.ndarray) -> bool:
        """Update the progress after a control step.

        :param touched: contact of the hand with each cube, True if it touches.
        :param tool: (3,) position of the tool point.
        :returns: whether the world forgets now.
        """
        for cube in np.flatnonzero(touched).tolist():
            if self._outing is None and cube not in self.tapped:
                self._outing = cube
                self.tapped.append(cube)
            elif cube != self._outing:
                self.lost = True
        if self._outing is None or any(touched) or not self.at_home(tool):
            return False
        self._outing = None
        return True

    @property
    def solved(self) -> bool:
        return len(self.tapped) == len(self.cubes) and not self.lost

    def conditions(self) -> Mapping[str, bool]:
        return {"tapped one": bool(self.tapped) and not self.lost, "tapped both": self.solved}

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        left = [cube for number, cube in enumerate(self.cubes) if number not in self.tapped]
        return (left[0] if left else self.cubes[self.tapped[-1]]), self.home[:3, 3]

    def expert_action(self, state: ExpertState, axes: GripperAxes) -> EndEffectorAction:
        if self._outing is not None:
            return self._go_home(state, self.cubes[self._outing], 0.0)
        if self.solved:
            return _steer(state, self.home[:3, 3], self.home[:3, :3], 0.0)
        top = self.points()[0] + [0.0, 0.0, CUBE_HALF_M]
        sideways = float(np.linalg.norm((top - state.base_from_gripper[:3, 3])[:2]))
        height = _CLEAR * float(np.clip((sideways - _OVER) / _FUNNEL, 0.0, 1.0)) - _PRESSED
        return _steer(state, top + [0.0, 0.0, height], self.home[:3, :3], 0.0)


def _steer(state: ExpertState, aim: np.ndarray, turned: np.ndarray, gripper: float) -> EndEffectorAction:
    """One step of the tool point towards a position and an orientation (3, 3)."""
    target = state.base_from_target
    turn = Rotation.from_matrix(turned) * Rotation.from_matrix(target[:3, :3]).inv()
    return EndEffectorAction(
        translation=limited(_GAIN * (aim - target[:3, 3]), MAX_TRANSLATION),
        rotation=limited(_GAIN * turn.as_rotvec(), MAX_ROTATION),
        gripper=gripper,
    )
