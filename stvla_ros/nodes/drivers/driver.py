"""What every robot's driver does: commands through the safety gate, setpoints at the robot's rate, stops.

A subclass says how the robot is told and what it tells; see :class:`DriverNode`.
"""

import time
from typing import Any

from stvla_ros.control.safety.gate import Inhibitor, SafetyGate
from stvla_ros.control.safety.measurements import Measurements
from stvla_ros.control.safety.watches import TrackingWatch
from stvla_ros.errors import InputError
from stvla_ros.msg import DriverState
from stvla_ros.nodes.drivers.deadman import Deadman
from stvla_ros.nodes.drivers.driver_base import GO_ON, DriverBase
from stvla_ros.nodes.drivers.driver_commands import DriverCommands
from stvla_ros.nodes.drivers.driver_engagement import Engagement
from stvla_ros.nodes.drivers.driver_reports import DriverReports
from stvla_ros.nodes.drivers.driver_stops import DriverStops
from stvla_ros.nodes.kit.realtime import HIGHEST_PRIORITY, check_realtime
from stvla_ros.nodes.kit.threads import Ticker

_STOP_TIMEOUT_S = 2.0
_LET_GO_PERIOD_S = 0.05


class DriverNode(DriverBase):
    """
    Subclasses override

    * :meth:`make_arm`: the geometry,
    * :meth:`connect`: make publishers and clients (in ``configure``),
    * :meth:`listen`: subscribe to what the robot says (in ``activate``), and give it to :meth:`measured`,
    * :meth:`engage`: the service calls that make the robot ready to take setpoints,
    * :meth:`send`, :meth:`send_gripper`: one setpoint to the robot (called in the ticker's thread),
    * :meth:`check_gripper`: whether the gripper can be opened although the arm was not taken up.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        home_first = self.parameter("home_first", False, "move to the home position as soon as the robot is up")
        if home_first and not self.description.home:
            raise InputError(f"parameter home_first: {self.embodiment.name} has no driver.home")
        self._realtime_priority = self.parameter(
            "realtime_priority",
            0,
            "SCHED_FIFO priority of the thread that sends setpoints, where the machine allows it; 0: the usual one",
            low=0,
            high=HIGHEST_PRIORITY,
        )
        check_realtime("realtime_priority", self._realtime_priority)
        self._deadman = Deadman(self)
        self._engagement = Engagement(self, home_first)
        self._stops, self._commands = DriverStops(self), DriverCommands(self)
        self._ticker: Ticker | None = None
        self._yielded = False
        self._clock_fault = ""
        limits = self.description.limits
        self._tracking = TrackingWatch(limits.tracking_error, limits.tracking_time)

    # --- lifecycle ----------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        limits, control_hz = self.description.limits, self.embodiment.control_hz
        self.gate = SafetyGate(self.make_arm(), limits, 1.0 / self.description.tick_hz, 1.0 / control_hz)
        self.latch.load(self.embodiment.name, self.dry_run)
        self.reports = DriverReports(self, self.embodiment.base_frame)
        self._stops.serve()
        self._deadman.serve()
        self.connect()
        self._engagement.serve()
        self.every(_LET_GO_PERIOD_S, self._let_go_when_due)

    def activate(self) -> None:
        with self.lock:
            self.lose("not started")
            self._engagement.give_up()
            self._measurements = Measurements(self.description.limits.joint_state_timeout)
            self.times.reset()
            self.latch.begin()
            for cause in self.latch.causes:
                self.gate.inhibit(cause)
            self.gate.release("driver", self.times.now_ns)
        self.listen()
        self._commands.subscribe()
        self._deadman.subscribe()
        self._ticker = Ticker(1.0 / self.description.tick_hz, self._tick, self.survive, self._realtime_priority)
        self.on_stop_inputs(self._come_to_rest)

    def _come_to_rest(self) -> None:
        """The node is deactivated or ends: stop within a control period, then say nothing more. The robot holds its
        last setpoint; its torque stays on.
        """
        with self.lock:
            self.gate.inhibit("driver")
        self._engagement.give_up()
        ends = time.monotonic() + _STOP_TIMEOUT_S
        while self.gate.moving and time.monotonic() < ends:
            time.sleep(0.005)
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None
        if not self.gate.moving:
            self.latch.end()

    def cleanup(self) -> None:
        self.latch.unload()
        self.gate = None

    def take_up(self) -> None:
        """The arm is up: begin where it is measured to be. :raises InputError: where it cannot be."""
        with self.lock:
            self.gate.start(self.position, self.opening, self.times.now_ns)
            self.gate.release("joint states", self.times.now_ns)
            self.engaged, self._yielded, self.detail = True, False, ""
            self._tracking.reset()

    # --- ticks (ticker's thread) --------------------------------------------------------------------------------------

    def _tick(self) -> None:
        with self.lock:
            self._check_inputs()
            started = self.engaged or self.gate.moving
            setpoint = self.gate.tick()
            # A gripper that is held is still kept at its opening; one with a hand in it opens whatever holds the arm.
            grips = setpoint.gripper is not None and (started or self.latch.closed or self.gate.releasing)
        if started and not self.dry_run:
            self.send(setpoint)
        if grips and not self.dry_run:
            self.send_gripper(setpoint.gripper)
        self._note_lateness(started)
        if started:
            self.reports.setpoint(self.gate.names, setpoint)
        self.reports.state(*self._phase(), self.dry_run)

    def _note_lateness(self, sent: bool) -> None:
        with self.lock:
            problem = self.times.ticked(sent)
        if problem:
            # Latched, because it would come again: with what makes the machine busy, the arm would stop and go on by
            # itself, where nobody expects it to.
            self.stop_and_latch("late ticks", problem)

    def _let_go_when_due(self) -> None:
        """In the executor's thread, where all motions are planned."""
        with self.lock:
            if self.is_active and self.engaged and self.latch.closed and not self.gate.moving:
                self._let_go()

    def _let_go(self) -> None:
        """What stopped the arm is latched, and its setpoints came to rest. Say nothing more: whoever moves it meanwhile
        must not see it come back. Where it only does not follow, lead them once to where it is before that, so that it
        does not press on.
        """
        if self.fresh and not self._yielded and self.gate.inhibitors == {"tracking"}:
            self._yielded = True
            try:
                self.gate.yield_to(self.position)
                return
            except InputError as error:
                self.reject("tracking", str(error))
        self.engaged = False

    def _phase(self) -> tuple[int, list[str], str]:
        """For the driver's state: phase, what holds the arm, a line for a person."""
        with self.lock:
            held: list[str] = sorted(self.gate.inhibitors)
            if causes := self.latch.causes:
                held = [reason for reason in held if reason != "not started"]
                what = "; ".join(f"{cause}: {detail}" for cause, detail in causes.items())
                return DriverState.HELD, held, f"{what}; no service of the arm is called; {GO_ON}"
            if "not started" in held or "joint states" in held:
                return DriverState.WAITING, held, self.detail or ("" if self.fresh else "no joint states")
            phase = DriverState.HELD if held else DriverState.MOVING if self.gate.moving else DriverState.READY
            return phase, held, self._clock_fault if "clock" in held else self.detail

    def _check_inputs(self) -> None:
        if not self.fresh:
            if self.engaged:
                self.lose("joint states")
                silent = self.description.limits.joint_state_timeout
                self.stop_and_latch("arm lost", f"it said nothing usable for {silent:g} s")
        elif self.engaged and not self.dry_run:
            lost = self._tracking.lost(self.position, self.gate.position, time.monotonic())
            if lost is not None and "tracking" not in self.gate.inhibitors:
                self.stop_and_latch("tracking", f"{self.gate.names[lost]} does not follow")
        fault = self.times.clock_fault()
        self._clock_fault = fault or self._clock_fault
        if self.times.clock_jumped:
            self._commands.goals.clock_jumped()
        holding: dict[Inhibitor, bool] = {"deadman": not self._deadman.held, "clock": bool(fault)}
        for reason, holds in holding.items():
            if holds:
                self.gate.inhibit(reason)
            else:
                self.release_at_rest(reason)
        self._stops.check()

    def extra_diagnostics(self) -> dict[str, Any]:
        if self.gate is None:
            return {}
        with self.lock:
            return dict(self.gate.counts) | {
                "held_by": ", ".join(sorted(self.gate.inhibitors)),
                "idle": self.gate.idle,
                **self.times.figures(),
            }
