"""The safety gate: commands go in, positions that obey every limit come out, one each tick.

It knows no ROS and no robot's protocol. Time is given by the caller, in nanoseconds of one clock that observations are
stamped with (``now``), and ticks are counted. Not thread-safe.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.safety.command_budget import CommandBudget
from stvla_ros.control.safety.kinematics import Kinematics, Unreachable
from stvla_ros.control.safety.latch import Cause
from stvla_ros.control.safety.limits import SafetyLimits
from stvla_ros.control.safety.motion import Motion, MotionPlanner, MotionRefused, State
from stvla_ros.errors import InputError

# Observations may be stamped by another clock that is a little ahead.
_FUTURE_NS = 100_000_000
# A motion takes this many control periods: the next command comes before it has slowed down, so that a stream of equal
# commands is a steady motion that is 0.3 commands behind (at 1.0 the arm would stop after each).
_MOTION_PERIODS = 1.5
# How far inside the workspace a target is kept, metres: on the way between two points of a wall the joints move the
# tool in an arc.
_INSET = 0.003
# The target may be ahead of the arm by this many of the largest steps, in translation and in rotation; more commands
# than control periods would otherwise pile up a way that the arm runs off long after the last one.
_LEAD_STEPS = 2.0

# What holds the arm by itself, and lets go of it when its reason is gone; and what latched.
Inhibitor = Literal["not started", "deadman", "joint states", "clock", "estop heartbeat", "driver"] | Cause


@dataclass(frozen=True)
class Verdict:
    """What became of a command.

    :param executed: whether the arm follows it, changed or not.
    :param clipped: which limits changed it.
    :param refused: why not; empty when it is executed.
    """

    executed: bool
    clipped: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, eq=False)
class Setpoint:
    """What the robot is to do until the next tick.

    :param position, velocity: (n,) radians or metres, and their rates a second.
    :param gripper: opening, 0 closed to 1 open; None until a command was executed: the gripper stays as it is, and what
        it holds is not dropped because a driver came up.
    :param tool_pose: (4, 4) of the tool point at this position, in the base frame.
    """

    position: np.ndarray
    velocity: np.ndarray
    gripper: float | None
    tool_pose: np.ndarray


class SafetyGate:
    """
    :param tick_s: seconds between two calls of :meth:`tick`.
    :param control_period_s: seconds between two commands.
    :raises InputError: when limits, arm and rates do not fit together.
    """

    def __init__(self, arm: Kinematics, limits: SafetyLimits, tick_s: float, control_period_s: float) -> None:
        if not 0.0 < tick_s <= control_period_s / 2.0:
            raise InputError(f"rate: expected at least two ticks a control period, got one each {tick_s:g} s")
        limits.check_stop(control_period_s)
        self._arm, self._limits = arm, limits
        self._tick_s, self._period_s = tick_s, control_period_s
        self._planner = MotionPlanner(arm, limits, tick_s)
        self._inhibitors: set[Inhibitor] = {"not started"}
        self._state = State.at_rest(np.zeros(len(arm.names)))
        self._motion: Motion | None = None
        self._next = 0  # of the motion's states
        self._stop: Motion | None = None
        self._stopping = False
        self._gripper = self._gripper_goal = 0.0
        self._gripper_asked = self._releasing = False
        self._goal = self._state.position
        self._target = np.eye(4)
        self._released_ns = 0
        self._idle_ticks = 0
        keep_ns = round(limits.observation_age * 1e9) + _FUTURE_NS
        self._budget = CommandBudget(limits.commands_per_observation, round(control_period_s * 1e9), keep_ns)
        self.counts: Counter[str] = Counter()

    # --- what holds the arm -------------------------------------------------------------------------------------------

    @property
    def inhibitors(self) -> frozenset[Inhibitor]:
        """Why no command is accepted; empty when commands are."""
        return frozenset(self._inhibitors)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the coordinates, in the order of every position."""
        return self._arm.names

    @property
    def position(self) -> np.ndarray:
        """(n,) of the last setpoint."""
        return self._state.position

    @property
    def moving(self) -> bool:
        return self._motion is not None

    @property
    def idle(self) -> bool:
        """Whether the watchdog found no fresh command for too long: the arm is at rest and holds."""
        return self._idle_ticks * self._tick_s > self._limits.watchdog_periods * self._period_s

    def start(self, position: np.ndarray, gripper: float, now_ns: int) -> None:
        """Begin, or begin anew after a hold, where the arm is measured to be.

        :param position: (n,) measured, at rest.
        :param gripper: measured opening.
        :raises InputError: for numbers that are not finite, or a position beyond the hard limits.
        """
        position = np.asarray(position, dtype=np.float64)
        if position.shape != (len(self._arm.names),) or not np.isfinite(position).all() or not np.isfinite(gripper):
            raise InputError(f"joint states: expected {len(self._arm.names)} finite positions, got {position}")
        for name, value in zip(self._arm.names, position):
            joint = self._limits.joints[name]
            # Sensors round, and a hanging arm rests on its stops.
            if not joint.lower - self._limits.joint_margin <= value <= joint.upper + self._limits.joint_margin:
                raise InputError(
                    f"joint states: expected {name} within {joint.lower:g} to {joint.upper:g}, got {value:.4g}"
                )
        self._state, self._motion, self._stop, self._stopping = State.at_rest(position), None, None, False
        self._gripper = self._gripper_goal = float(np.clip(gripper, 0.0, 1.0))
        self.leave_gripper()
        self._inhibitors.discard("not started")
        self._retarget(now_ns)

    def inhibit(self, reason: Inhibitor) -> None:
        """Stop from the next tick on and refuse commands until :meth:`release`. Safe to call again."""
        if reason not in self._inhibitors:
            self._inhibitors.add(reason)
            self.counts[f"stopped: {reason}"] += 1
        self._brake()

    def release(self, reason: Inhibitor, now_ns: int) -> None:
        """The reason is gone. Without any other, commands to observations from now on are accepted again."""
        self._inhibitors.discard(reason)
        if not self._inhibitors:
            self._retarget(now_ns)

    def _retarget(self, now_ns: int) -> None:
        """Commands are relative to the target: let it be where the arm comes to rest."""
        self._goal = self._motion.states[-1].position if self._motion else self._state.position
        self._target = self._arm.tool_pose(self._goal)
        self._released_ns = now_ns
        self._idle_ticks = 0

    def _brake(self) -> None:
        """Follow the stop that was checked together with the state that the arm is in."""
        if self._motion is not None and not self._stopping:
            self._motion, self._next, self._stopping = self._stop, 0, True
        if not self._releasing:
            self._gripper_goal = self._gripper

    # --- gripper ------------------------------------------------------------------------------------------------------

    @property
    def releasing(self) -> bool:
        """Whether the gripper was told to open, and no command has closed it since."""
        return self._releasing

    def release_gripper(self) -> None:
        """Open the gripper, whatever holds the arm: a hand may be in it. Neither a stop nor a hold ends this."""
        self._gripper_goal, self._gripper_asked, self._releasing = 1.0, True, True

    def leave_gripper(self) -> None:
        """Until the next command the gripper stays as it is."""
        self._gripper_asked = self._releasing = False

    # --- commands -----------------------------------------------------------------------------------------------------

    def command(self, action: EndEffectorAction, stamp_ns: int, now_ns: int) -> Verdict:
        """Take a command, relative to the target pose.

        :param stamp_ns: of the observation that it answers.
        """
        verdict = self._command(action, stamp_ns, now_ns)
        for limit in verdict.clipped:
            self.counts[f"clipped: {limit}"] += 1
        if not verdict.executed:
            self.counts[f"refused: {verdict.refused.partition(':')[0]}"] += 1
        return verdict

    def _command(self, action: EndEffectorAction, stamp_ns: int, now_ns: int) -> Verdict:
        if self._inhibitors:
            return Verdict(False, refused=f"held: {', '.join(sorted(self._inhibitors))}")
        age = now_ns - stamp_ns
        if age > self._limits.observation_age * 1e9:
            return Verdict(
                False, refused=f"observation age: {age * 1e-9:.2f} s, {self._limits.observation_age:g} allowed"
            )
        if age < -_FUTURE_NS:
            return Verdict(False, refused=f"observation from the future: {-age * 1e-9:.2f} s ahead")
        if stamp_ns < self._released_ns:
            return Verdict(False, refused="observation before the release: the arm was held then")
        if self._budget.left(stamp_ns, now_ns) <= 0:
            most = self._limits.commands_per_observation
            return Verdict(
                False, refused=f"commands per observation: {most} were executed for this one (commands_per_observation)"
            )
        translation, rotation, clipped = self._within_step(action)
        wanted = self._target.copy()
        wanted[:3, :3] = Rotation.from_rotvec(rotation).as_matrix() @ self._target[:3, :3]
        wanted[:3, 3] += translation
        clamped = self._clamped(wanted[:3, 3])
        if not np.array_equal(clamped, wanted[:3, 3]):
            clipped.append("workspace")
            wanted[:3, 3] = clamped
        if ahead := self._too_far_ahead(wanted):
            return Verdict(False, tuple(clipped), ahead)
        try:
            goal = self._arm.inverse(wanted, self._goal)
            motion = self._planner.move(self._state, goal, _MOTION_PERIODS * self._period_s)
        except (Unreachable, MotionRefused) as error:
            return Verdict(False, tuple(clipped), str(error))
        self._target, self._goal = wanted, goal
        self._follow(motion)
        self._gripper_goal, self._gripper_asked, self._releasing = action.gripper, True, False
        self._budget.spend(stamp_ns, now_ns)
        return Verdict(True, tuple(clipped))

    def _too_far_ahead(self, wanted: np.ndarray) -> str:
        """Why a target pose (4, 4) is too far from where the arm is; empty when it is not."""
        now = self._arm.tool_pose(self._state.position)
        way = float(np.linalg.norm(wanted[:3, 3] - now[:3, 3]))
        turn = float(Rotation.from_matrix(wanted[:3, :3] @ now[:3, :3].T).magnitude())
        for distance, step, unit in (
            (way, self._limits.step_translation, "m"),
            (turn, self._limits.step_rotation, "rad"),
        ):
            if distance > _LEAD_STEPS * step:
                return (
                    f"ahead of the arm: the target would be {distance:.3f} {unit} away, {_LEAD_STEPS * step:g} allowed"
                )
        return ""

    def move_to(self, position: np.ndarray, now_ns: int) -> float:
        """Move to a position of the joints, outside the workspace too: home and rest poses.

        :returns: seconds that it will take.
        :raises InputError: when the arm is held, or a limit is in the way.
        """
        if self._inhibitors:
            raise InputError(f"held: {', '.join(sorted(self._inhibitors))}")
        self._follow_joints(position)
        self._retarget(now_ns)
        return len(self._motion.states) * self._tick_s

    def yield_to(self, position: np.ndarray) -> None:
        """Lead the setpoints to where the arm is, although it is held: it does not follow, and must not be pressed on.
        Under every limit but the workspace: should the measurement be wrong, the arm moves as slowly as ever.

        :param position: (n,) measured.
        :raises InputError: when a limit is in the way.
        """
        self._follow_joints(position)

    def _follow_joints(self, position: np.ndarray) -> None:
        self._follow(self._planner.move(self._state, np.asarray(position, dtype=np.float64), in_workspace=False))

    def _follow(self, motion: Motion) -> None:
        self._motion, self._next, self._stopping = motion, 0, False
        self._idle_ticks = 0

    def _within_step(self, action: EndEffectorAction) -> tuple[np.ndarray, np.ndarray, list[str]]:
        clipped: list[str] = []
        parts: list[np.ndarray] = []
        for name, value in (("step_translation", action.translation), ("step_rotation", action.rotation)):
            limit, greatest = getattr(self._limits, name), max(float(np.abs(value).max()), 1e-300)
            # The square of a huge number is infinite.
            length = greatest * float(np.linalg.norm(value / greatest))
            if length > limit:
                clipped.append(name)
                value = value * (limit / length)
            parts.append(value)
        translation, rotation = parts
        return translation, rotation, clipped

    def _clamped(self, point: np.ndarray) -> np.ndarray:
        """Into the workspace; where the arm is outside already, at least not farther out."""
        now = self._target[:3, 3]
        box = self._limits.workspace.grown(-_INSET)
        return np.clip(point, np.minimum(box.low, now), np.maximum(box.high, now))

    # --- ticks --------------------------------------------------------------------------------------------------------

    def tick(self) -> Setpoint:
        """The next setpoint. At rest it is the same each time: the arm holds."""
        was_idle = self.idle
        if self._motion is not None:
            self._state = self._motion.states[self._next]
            self._stop = self._motion.stops[self._next] if self._motion.stops else None
            self._next += 1
            if self._next == len(self._motion.states):
                self._motion, self._stop, self._stopping = None, None, False
        else:
            self._idle_ticks += 1
        if self.idle and not was_idle:
            self.counts["watchdog: no fresh command"] += 1
        change = self._limits.gripper_rate * self._tick_s
        self._gripper += float(np.clip(self._gripper_goal - self._gripper, -change, change))
        gripper = self._gripper if self._gripper_asked else None
        return Setpoint(self._state.position, self._state.velocity, gripper, self._arm.tool_pose(self._state.position))
