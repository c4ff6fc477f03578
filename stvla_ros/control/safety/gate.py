"""The safety gate: commands go in, and positions that obey every limit come out, one at each tick.

It knows no ROS and no robot's protocol. The caller passes the time, in nanoseconds of a clock that only runs forwards
(``now``), and calls each tick.

Not thread-safe: hold one lock for all calls except :meth:`SafetyGate.plan`. Planning takes longer than a tick may wait.
So a command goes through three phases, and ticks may come between them:

1. ``prepare`` (lock): is the command wanted, and where will the arm be in some ticks?
2. ``plan`` (no lock): the motion from there, checked to its end.
3. ``accept`` (lock): when nothing has changed meanwhile, the motion is followed from exactly that state on. When that
   state is past, it is too late.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stvla_ros.control.actions import EndEffectorAction
from stvla_ros.control.displacement import Displacement
from stvla_ros.control.safety.admission import Admission, Inhibitor
from stvla_ros.control.safety.command_targets import CommandTargets
from stvla_ros.control.safety.gripper_ramp import GripperRamp
from stvla_ros.control.safety.kinematics import Kinematics, Unreachable
from stvla_ros.control.safety.limits import SafetyLimits
from stvla_ros.control.safety.motion import Motion, MotionPlanner, MotionRefused
from stvla_ros.control.safety.requests import Observed, Planned, Request, Setpoint, TooLate, Verdict
from stvla_ros.control.safety.rules import MotionRules
from stvla_ros.control.safety.track import Departure, Track
from stvla_ros.errors import InputError

# A motion takes this many control periods. The next command then comes before the motion slows down, so a stream of
# equal commands is a steady motion, 0.3 commands behind (at 1.0 the arm would stop after each).
_MOTION_PERIODS = 1.5


class SafetyGate:
    """
    :param tick_s: seconds between two calls of :meth:`tick`.
    :param control_period_s: seconds between two commands.
    :param known: positions (n,) at which the arm is meant to be, home and rest: links that touch there may do so.
    :raises InputError: when limits, arm and rates do not fit together.
    """

    def __init__(
        self,
        arm: Kinematics,
        limits: SafetyLimits,
        tick_s: float,
        control_period_s: float,
        known: Sequence[np.ndarray] = (),
    ) -> None:
        if not 0.0 < tick_s <= control_period_s / 2.0:
            raise InputError(f"rate: expected at least two ticks a control period, got one each {tick_s:g} s")
        limits.check_stop(control_period_s)
        self._arm, self._limits = arm, limits
        self._tick_s, self._period_s = tick_s, control_period_s
        # Planning has an arm of its own, because ticks come while it works.
        self._planning_arm = arm.copy()
        self.rules = MotionRules(self._planning_arm, limits, tick_s, known)
        self._planner = MotionPlanner(self.rules)
        self._targets = CommandTargets(limits)
        self._admission = Admission(limits, control_period_s)
        self._track = Track(np.zeros(len(arm.names)))
        self._gripper = GripperRamp(limits.gripper_rate * tick_s)
        self._goal = self._track.end
        self._target = np.eye(4)
        self._idle_ticks = 0
        self.counts: Counter[str] = Counter()

    # --- what holds the arm -------------------------------------------------------------------------------------------

    @property
    def inhibitors(self) -> frozenset[Inhibitor]:
        """The reasons why no command is accepted; empty when commands are accepted."""
        return self._admission.inhibitors

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coordinates, in the order of every position."""
        return self._arm.names

    @property
    def position(self) -> np.ndarray:
        """(n,) position of the last setpoint."""
        return self._track.state.position

    @property
    def moving(self) -> bool:
        return self._track.moving

    @property
    def idle(self) -> bool:
        """Whether the watchdog found no fresh command for too long: the arm is at rest and holds."""
        return self._idle_ticks * self._tick_s > self._limits.watchdog_periods * self._period_s

    def start(self, position: np.ndarray, gripper: float | None, now_ns: int) -> None:
        """Begin, or begin anew after a hold, at the arm's measured position.

        :param position: (n,) measured position, at rest.
        :param gripper: measured opening; None if it is not known.
        :raises InputError: for numbers that are not finite, or a position beyond the hard limits.
        """
        position = np.asarray(position, dtype=np.float64)
        if (
            position.shape != (len(self._arm.names),)
            or not np.isfinite(position).all()
            or not np.isfinite(gripper or 0.0)
        ):
            raise InputError(f"joint states: expected {len(self._arm.names)} finite positions, got {position}")
        for name, value in zip(self._arm.names, position):
            joint = self._limits.joints[name]
            # Sensors round, and a hanging arm rests on its stops.
            if not joint.lower - self._limits.joint_margin <= value <= joint.upper + self._limits.joint_margin:
                raise InputError(
                    f"joint states: expected {name} within {joint.lower:g} to {joint.upper:g}, got {value:.4g}"
                )
        self._track.rest_at(position)
        self._gripper.start(gripper)
        self._admission.release("not started")
        self._retarget(now_ns)

    def inhibit(self, reason: Inhibitor) -> None:
        """Stop from the next tick on, and refuse commands until :meth:`release`. Safe to call again."""
        if self._admission.inhibit(reason):
            self.counts[f"stopped: {reason}"] += 1
        self._brake()

    def release(self, reason: Inhibitor, now_ns: int) -> None:
        """The reason is gone. If there is no other, commands to observations from now on are accepted again."""
        self._admission.release(reason)
        if not self._admission.held:
            self._retarget(now_ns)

    def _retarget(self, now_ns: int) -> None:
        """Commands are relative to the target, so the target becomes the pose at which the arm comes to rest."""
        self._track.change()
        self._goal = self._track.end
        self._target = self._arm.tool_pose(self._goal)
        self._admission.count_from(now_ns)
        self._idle_ticks = 0

    def _brake(self) -> None:
        self._track.brake()
        self._gripper.hold()

    # --- gripper ------------------------------------------------------------------------------------------------------

    @property
    def releasing(self) -> bool:
        """Whether the gripper was told to open, and no command has moved it since."""
        return self._gripper.releasing

    def release_gripper(self) -> None:
        """Open the gripper, even while the arm is held; see :meth:`GripperRamp.release`."""
        self._gripper.release()

    def leave_gripper(self) -> None:
        """Leave the gripper as it is until the next command."""
        self._gripper.leave()

    # --- commands -----------------------------------------------------------------------------------------------------

    def command(self, action: EndEffectorAction, stamp_ns: int, now_ns: int) -> Verdict:
        """Run all three phases at once, with no tick between them.

        :param stamp_ns: stamp of the answered observation, in the clock of ``now_ns``.
        """
        observed = Observed(stamp_ns, stamp_ns)
        return self.accept(self.plan(self.prepare(action, observed, now_ns, 0)), now_ns)

    def prepare(self, action: EndEffectorAction, observed: Observed, now_ns: int, lead_ticks: int) -> Request | Verdict:
        """The first phase of a command, which is relative to the target pose.

        :param lead_ticks: number of ticks that planning may take.
        :returns: what must be planned, or the reason why nothing is.
        """
        if refused := self._admission.refusal(observed, now_ns):
            return Verdict(False, refused=refused)
        target, clipped = self._targets.target(action, self._target)
        if ahead := self._targets.too_far_ahead(target, self._arm.tool_pose(self.position)):
            return Verdict(False, clipped, ahead)
        departure = self._track.departure(lead_ticks)
        return Request(observed, departure, target, self._goal, action.gripper, clipped)

    def plan(self, request: Request | Verdict) -> Planned | Verdict:
        """The second phase: plan the motion. Nothing of the gate changes, and no lock is needed; do not run it twice at
        the same time.
        """
        if isinstance(request, Verdict):
            return request
        try:
            goal = self._planning_arm.inverse(request.target, request.seed)
            if (lift := self.rules.lift(goal, request.seed)) > 0.0:
                request = request.lifted(lift)
                goal = self._planning_arm.inverse(request.target, request.seed)
            motion = self._planner.move(request.departure.start, goal, _MOTION_PERIODS * self._period_s)
        except (Unreachable, MotionRefused) as error:
            return Verdict(False, request.clipped, str(error))
        return Planned(request, goal, motion)

    def accept(self, planned: Planned | Verdict, now_ns: int) -> Verdict:
        """The third phase: follow the motion. The decisions of the earlier phases are counted here.

        :raises TooLate: when the arm has passed the state in which the motion begins; then nothing is changed or
            counted.
        """
        verdict = planned if isinstance(planned, Verdict) else self._accept(planned, now_ns)
        for limit in verdict.clipped:
            self.counts[f"clipped: {limit}"] += 1
        if not verdict.executed:
            self.counts[f"refused: {verdict.refused.partition(':')[0]}"] += 1
        return verdict

    def _accept(self, planned: Planned, now_ns: int) -> Verdict:
        request = planned.request
        # Checked again: time has passed, and the arm may have been stopped.
        if refused := self._admission.refusal(request.observed, now_ns):
            return Verdict(False, request.clipped, refused)
        if self._track.changed(request.departure):
            return Verdict(False, request.clipped, "overtaken: the arm was sent elsewhere while the motion was planned")
        if self._track.past(request.departure):
            raise TooLate("too late: the arm went past the state in which the planned motion begins")
        self._track.follow(request.departure, planned.motion)
        self._idle_ticks = 0
        moved = Displacement.between(self._target, request.target)
        self._target, self._goal = request.target, planned.goal
        self._gripper.go(request.gripper)
        self._admission.spend(request.observed, now_ns)
        return Verdict(True, request.clipped, moved=moved)

    def plan_way(self, position: np.ndarray, departure: Departure, *, in_workspace: bool = False) -> Motion:
        """Plan a motion to a position of the joints; no lock is needed, as for :meth:`plan`.

        :param departure: start of the motion, from :meth:`prepare_way`.
        :param in_workspace: whether the tool stays in the workspace; home and rest may be outside.
        :raises InputError: when a limit is in the way.
        """
        return self._planner.move(departure.start, np.asarray(position, dtype=np.float64), in_workspace=in_workspace)

    def prepare_way(self) -> Departure:
        """The start of a possible motion to a position of the joints: the place where the arm comes to rest.

        :raises InputError: when the arm is held.
        """
        if held := self._admission.held:
            raise InputError(held)
        return self._track.departure(None)

    def accept_way(self, departure: Departure, motion: Motion, now_ns: int) -> float:
        """Follow a planned motion to a position.

        :returns: duration of the motion, seconds.
        :raises InputError: when the arm is held, or was sent elsewhere.
        """
        self.prepare_way()
        if self._track.changed(departure):
            raise InputError("overtaken: the arm was sent elsewhere while the motion was planned; try again")
        self._track.follow(departure, motion)
        self._retarget(now_ns)
        return self._track.ticks_left * self._tick_s

    def move_to(self, position: np.ndarray, now_ns: int) -> float:
        """Run all three phases of such a motion at once, with no tick between them; see :meth:`plan_way`."""
        departure = self.prepare_way()
        return self.accept_way(departure, self.plan_way(position, departure), now_ns)

    def yield_to(self, position: np.ndarray, in_workspace: bool) -> None:
        """Lead the setpoints back to an arm that does not follow, although it is held, so that it does not keep
        pressing. All limits hold.

        :param position: (n,) position on the setpoints' own path (``SetpointTrail``).
        :param in_workspace: whether that path was within the workspace.
        :raises InputError: when a limit is in the way.
        """
        departure = self._track.departure(0)
        self._track.follow(departure, self.plan_way(position, departure, in_workspace=in_workspace))
        self._idle_ticks = 0

    # --- ticks --------------------------------------------------------------------------------------------------------

    def tick(self) -> Setpoint:
        """The next setpoint. At rest it is the same each time: the arm holds."""
        was_idle = self.idle
        self._idle_ticks += not self._track.moving
        self._track.tick()
        if self.idle and not was_idle:
            self.counts["watchdog: no fresh command"] += 1
        state = self._track.state
        return Setpoint(state.position, state.velocity, self._gripper.tick(), self._arm.tool_pose(state.position))
