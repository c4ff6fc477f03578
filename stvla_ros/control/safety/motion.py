"""Motions that were checked to their end before their first tick is sent.

A motion ends at rest. With each of its ticks goes a stop from there, checked too, so that whatever happens there is a
way to rest that obeys every limit. Trajectories are time-optimal under velocity, acceleration and jerk limits (Ruckig,
Berscheid and Kroeger, arXiv 2105.04830).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ruckig
from scipy.spatial.transform import Rotation

from stvla_ros.control.safety.kinematics import Kinematics
from stvla_ros.control.safety.limits import SafetyLimits
from stvla_ros.errors import InputError

# Rounding must not refuse a motion along a limit.
_TOLERANCE = 1e-6
# How often a motion is slowed down until its tool is slow enough.
_MOST_SLOWER = 6
_LONGEST_S = 20.0


class MotionRefused(InputError):
    """The motion would break a limit; the message names it."""


@dataclass(frozen=True, eq=False)
class State:
    """Of all n coordinates: radians or metres, their rates a second, and the rates of these."""

    position: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray

    @classmethod
    def at_rest(cls, position: np.ndarray) -> "State":
        return cls(np.array(position, dtype=np.float64), np.zeros(len(position)), np.zeros(len(position)))

    @property
    def resting(self) -> bool:
        return not (self.velocity.any() or self.acceleration.any())


@dataclass(frozen=True, eq=False)
class Motion:
    """:param states: after 1, 2, … ticks; the last is at rest.
    :param stops: for each of the states a motion from there to rest; a stop has none, it is one already.
    """

    states: tuple[State, ...]
    stops: tuple["Motion", ...] = ()


class MotionPlanner:
    """
    :param tick_s: seconds between two states of a motion.
    :raises InputError: when limits and arm do not fit together.
    """

    def __init__(self, arm: Kinematics, limits: SafetyLimits, tick_s: float) -> None:
        limits.check_joints(arm.names)
        self._arm, self._limits, self._tick_s = arm, limits, tick_s
        joints = [limits.joints[name] for name in arm.names]
        self._lower = np.array([joint.lower + limits.joint_margin for joint in joints])
        self._upper = np.array([joint.upper - limits.joint_margin for joint in joints])
        # Between two ticks a point can be half a tick's way inside a box that neither end is in.
        clearance = limits.tool_speed * tick_s / 2.0
        self._forbidden = {name: box.grown(clearance) for name, box in limits.forbidden.items()}
        self._generator = ruckig.Ruckig(len(joints))
        self._trajectory = ruckig.Trajectory(len(joints))
        self._input = ruckig.InputParameter(len(joints))
        self._input.max_velocity = [joint.velocity for joint in joints]
        self._input.max_acceleration = [joint.acceleration for joint in joints]
        self._input.max_jerk = [joint.jerk for joint in joints]

    def move(self, start: State, goal: np.ndarray, least_s: float = 0.0, *, in_workspace: bool = True) -> Motion:
        """
        :param goal: position (n,) to come to rest at.
        :param least_s: shortest duration.
        :param in_workspace: whether the tool point must keep to the workspace; without, forbidden boxes still count.
        :raises MotionRefused: when it cannot be without breaking a limit.
        """
        self._check_goal(goal)
        rules = _Rules(self, start, in_workspace)
        for _ in range(_MOST_SLOWER):
            states = self._sample(start, goal, least_s)
            too_fast = rules.check(start, states)
            if too_fast <= 1.0:
                stops = tuple(Motion((state,)) if state.resting else self.stop(state) for state in states)
                too_fast = max(rules.check(state, stop.states) for state, stop in zip(states, stops))
            if too_fast <= 1.0:
                return Motion(states, stops)
            least_s = max(least_s, len(states) * self._tick_s) * max(too_fast, 1.05) + self._tick_s
        raise MotionRefused("tool speed: no motion is slow enough, the arm already moves too fast")

    def stop(self, start: State) -> Motion:
        """The fastest way to rest, whatever it leads through: for a start that no motion brought about."""
        return Motion(self._sample(start, None))

    def _check_goal(self, goal: np.ndarray) -> None:
        if not np.isfinite(goal).all():
            raise MotionRefused(f"position: expected finite numbers, got {goal}")

    def _sample(self, start: State, goal: np.ndarray | None, least_s: float = 0.0) -> tuple[State, ...]:
        """The states of the fastest trajectory to the goal; to rest anywhere without one."""
        into = self._input
        into.current_position = start.position.tolist()
        into.current_velocity = start.velocity.tolist()
        into.current_acceleration = start.acceleration.tolist()
        zero = [0.0] * len(start.position)
        into.target_velocity, into.target_acceleration = zero, zero
        if goal is None:
            into.control_interface, into.minimum_duration = ruckig.ControlInterface.Velocity, None
        else:
            into.control_interface = ruckig.ControlInterface.Position
            into.target_position, into.minimum_duration = goal.tolist(), least_s or None
        try:
            self._generator.calculate(into, self._trajectory)
        except ruckig.RuckigError as error:
            raise MotionRefused(f"trajectory: {error}") from None
        duration = self._trajectory.duration
        if not duration < _LONGEST_S:
            raise MotionRefused(f"trajectory: expected less than {_LONGEST_S:g} s, it takes {duration:.3g} s")
        ticks = max(1, math.ceil(duration / self._tick_s - 1e-9))
        states = [
            State(*(np.array(part) for part in self._trajectory.at_time(tick * self._tick_s)))
            for tick in range(1, ticks)
        ]
        return (*states, State.at_rest(np.array(self._trajectory.at_time(duration)[0])))


class _Rules:
    """What holds for a motion that begins in ``start``. What is broken there may be mended, never made worse: an arm
    that was switched on outside its workspace must be able to return.
    """

    def __init__(self, planner: MotionPlanner, start: State, in_workspace: bool) -> None:
        self._arm, self._limits, self._tick_s = planner._arm, planner._limits, planner._tick_s
        self._lower = np.minimum(planner._lower, start.position)
        self._upper = np.maximum(planner._upper, start.position)
        points = self._arm.guarded_poses(start.position)[:, :3, 3]
        self._boxes = {
            name: (box, float(box.inside(points).max()) + _TOLERANCE) for name, box in planner._forbidden.items()
        }
        self._in_workspace = in_workspace
        self._outside = float(self._limits.workspace.outside(points[0])) + _TOLERANCE

    def check(self, start: State, states: Sequence[State]) -> float:
        """:returns: the tool's greatest speed as a share of what is allowed.

        :raises MotionRefused: naming the limit that the motion breaks.
        """
        positions = np.stack([state.position for state in states])
        over = np.maximum(positions - self._upper, self._lower - positions).max(axis=0)
        if over.max() > _TOLERANCE:
            worst = int(over.argmax())
            raise MotionRefused(f"joint limit: {self._arm.names[worst]} would come {over[worst]:.3g} too far")
        poses = np.stack([self._arm.guarded_poses(position) for position in (start.position, *positions)])
        points = poses[1:, :, :3, 3]
        for name, (box, allowed) in self._boxes.items():
            if box.inside(points).max() > allowed:
                raise MotionRefused(f"forbidden box {name}: the arm would enter it")
        if self._in_workspace and self._limits.workspace.outside(points[:, 0]).max() > self._outside:
            raise MotionRefused("workspace: the tool would leave it")
        tools = poses[:, 0]
        steps = np.linalg.norm(np.diff(tools[:, :3, 3], axis=0), axis=1)
        turns = Rotation.from_matrix(tools[1:, :3, :3] @ tools[:-1, :3, :3].transpose(0, 2, 1)).magnitude()
        speed, turn_rate = steps.max() / self._tick_s, turns.max() / self._tick_s
        return max(speed / self._limits.tool_speed, turn_rate / self._limits.tool_turn_rate) - _TOLERANCE
