"""Plans motions that are checked to their end before their first tick is sent.

A motion ends at rest. Each of its ticks has a stop that begins there, and is checked, too. So, whatever happens, there
is a way to rest that obeys every limit. Trajectories are time-optimal under velocity, acceleration and jerk limits
(Ruckig, Berscheid and Kroeger, arXiv 2105.04830).
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import ruckig

from stvla_ros.control.safety.motion_check import MotionCheck
from stvla_ros.control.safety.rules import MotionRefused, MotionRules
from stvla_ros.control.safety.states import State

# Number of times that a motion is slowed down until its tool is slow enough.
_MOST_SLOWER = 6
_LONGEST_S = 20.0


@dataclass(frozen=True, eq=False)
class Motion:
    """:param states: states after 1, 2, … ticks; the last one is at rest.
    :param stops: motion to rest from each of the states; empty for a motion that is itself a stop.
    """

    states: tuple[State, ...]
    stops: tuple["Motion", ...] = ()


class MotionPlanner:
    """:param rules: rules that every motion, and every stop, must obey."""

    def __init__(self, rules: MotionRules) -> None:
        self._rules, self._tick_s = rules, rules.tick_s
        joints = [rules.limits.joints[name] for name in rules.arm.names]
        self._generator = ruckig.Ruckig(len(joints))
        self._trajectory = ruckig.Trajectory(len(joints))
        self._input = ruckig.InputParameter(len(joints))
        self._input.max_velocity = [joint.velocity for joint in joints]
        self._input.max_acceleration = [joint.acceleration for joint in joints]
        self._input.max_jerk = [joint.jerk for joint in joints]

    def move(self, start: State, goal: np.ndarray, least_s: float = 0.0, *, in_workspace: bool = True) -> Motion:
        """
        :param goal: (n,) position at which the motion comes to rest.
        :param least_s: shortest duration.
        :param in_workspace: whether the arm must stay in the workspace; if not, all other limits still hold.
        :raises MotionRefused: when it is not possible without breaking a limit.
        """
        self._check_goal(goal)
        rules = MotionCheck(self._rules, in_workspace)
        for _ in range(_MOST_SLOWER):
            states = self._sample(start, goal, least_s)
            too_fast = rules.check([(start, *states)])
            if too_fast <= 1.0:
                stops = tuple(Motion((state,)) if state.resting else self.stop(state) for state in states)
                too_fast = rules.check([(state, *stop.states) for state, stop in zip(states, stops)])
            if too_fast <= 1.0:
                return Motion(states, stops)
            least_s = max(least_s, len(states) * self._tick_s) * max(too_fast, 1.05) + self._tick_s
        raise MotionRefused("speed: no motion is slow enough, the arm already moves too fast")

    def stop(self, start: State) -> Motion:
        """The fastest way to rest, whatever is in its way: for a start that no motion led to."""
        return Motion(self._sample(start, None))

    def _check_goal(self, goal: np.ndarray) -> None:
        if not np.isfinite(goal).all():
            raise MotionRefused(f"position: expected finite numbers, got {goal}")

    def _sample(self, start: State, goal: np.ndarray | None, least_s: float = 0.0) -> tuple[State, ...]:
        """The states of the fastest trajectory to the goal; without a goal, of the fastest one to rest anywhere."""
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
        # One array for all of them: three arrays for each state would take longer than the trajectory itself.
        sampled = np.array([self._trajectory.at_time(tick * self._tick_s) for tick in range(1, ticks)])
        return (*itertools.starmap(State, sampled), State.at_rest(np.array(self._trajectory.at_time(duration)[0])))
