"""The common part of every robot's driver: commands through the safety gate, setpoints at the robot's rate, stops.

A subclass implements the robot's own commands and messages; see :class:`DriverNode`.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from stvla_ros.control.safety.admission import Inhibitor
from stvla_ros.control.safety.joint_measurements import JointMeasurement
from stvla_ros.errors import InputError
from stvla_ros.msg import DriverState
from stvla_ros.nodes.drivers.deadman import Deadman
from stvla_ros.nodes.drivers.driver_base import GO_ON, DriverBase
from stvla_ros.nodes.drivers.driver_commands import DriverCommands
from stvla_ros.nodes.drivers.driver_engagement import Engagement
from stvla_ros.nodes.drivers.driver_exclusivity import Exclusivity
from stvla_ros.nodes.drivers.driver_giving_way import GivingWay
from stvla_ros.nodes.drivers.driver_reports import DriverReports
from stvla_ros.nodes.drivers.driver_stops import DriverStops
from stvla_ros.nodes.drivers.driver_supervision import MeasuredState
from stvla_ros.nodes.kit.realtime import HIGHEST_PRIORITY, check_realtime
from stvla_ros.nodes.kit.threads import Ticker

_STOP_TIMEOUT_S = 2.0


class DriverNode(DriverBase):
    """
    Subclasses override

    * :meth:`make_arm`: the geometry,
    * :meth:`connect`: make publishers and clients (in ``configure``),
    * :meth:`listen`: subscribe to the robot's measurements (in ``activate``), and pass them to :meth:`measured`; joint
      states through :meth:`read_joints`,
    * :meth:`engage`: the service calls that make the robot ready to take setpoints,
    * :meth:`begin`: forget everything that was sent before a hold,
    * :meth:`known_opening`: the gripper's opening, if it is not measured,
    * :meth:`send`, :meth:`send_gripper`: one setpoint to the robot (called in the ticker's thread),
    * :meth:`check_gripper`: whether the gripper can be opened before the arm is taken up.
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
        self._measured_state = MeasuredState(self)
        self._giving_way = GivingWay(self, self._measured_state)
        self._engagement = Engagement(self, self._measured_state, home_first)
        self._stops, self._commands = DriverStops(self), DriverCommands(self)
        self._exclusivity = Exclusivity(self)
        self._ticker: Ticker | None = None
        self._clock_fault = ""

    # --- lifecycle ----------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        arm = self.make_arm()
        self._measured_state.configure(arm)
        self.gate = self.make_gate(arm)
        self.latch.load(self.embodiment.name, self.dry_run)
        self.reports = DriverReports(self, self.embodiment.base_frame)
        self._stops.serve()
        self._deadman.serve()
        before = set(self.publishers)
        self.connect()
        self._to_arm = tuple(each.topic_name for each in self.publishers if each not in before)
        self._engagement.serve()
        self._giving_way.serve()
        self._exclusivity.serve()

    def activate(self) -> None:
        with self.lock:
            self.lose("not started")
            self._engagement.give_up()
            self._measured_state.forget()
            self.times.reset()
            self.latch.begin()
            for cause in self.latch.causes:
                self.gate.inhibit(cause)
            self.gate.release("driver", self.times.now_ns)
            self.goals.retire(self.now_ns())
        self.listen()
        self._exclusivity.begin()
        self._commands.subscribe()
        self._deadman.subscribe()
        self._ticker = Ticker(1.0 / self.description.tick_hz, self._tick, self.survive, self._realtime_priority)
        self.on_stop_inputs(self._come_to_rest)

    def _come_to_rest(self) -> None:
        """The node is deactivated or ends: stop within a control period, then send nothing more. The robot holds its
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
        # Also when no tick was left for it: whoever commands the arm must learn that it is over.
        self.tell_state()
        if not self.gate.moving:
            self.latch.end()

    def cleanup(self) -> None:
        self.latch.unload()
        self.gate = None

    def take_up(self) -> None:
        """The arm is ready: begin at its measured position. :raises InputError: when that is impossible."""
        with self.lock:
            self.gate.start(self.position, self.known_opening(), self.times.now_ns)
            self.gate.release("joint states", self.times.now_ns)
            self.engaged, self.detail = True, ""
            self._measured_state.taken_up()
            self._giving_way.begin()
            self.begin()

    # --- what the robot says ------------------------------------------------------------------------------------------

    def measured(
        self, position: np.ndarray, opening: float, topic: str, stamp_ns: int, effort: np.ndarray | None = None
    ) -> bool:
        """Take a measurement. One that is late or could not be read does not count; an impossible one stops the arm
        (docs/explanation/safety.md).

        :param position: (n,) measured position, rad or m.
        :param opening: gripper opening, 0..1.
        :param topic: name of the topic that it came from.
        :param stamp_ns: time of the measurement, nanoseconds; 0 if unknown.
        :param effort: (n,) efforts in the unit of ``limits.joints.*.effort``, NaN if not measured; None if the robot
            never measures them.
        :returns: whether the measurement counts.
        """
        unknown = np.full(len(position), np.nan)
        with self.lock:
            return self._measured_state.take(position, opening, topic, stamp_ns, unknown if effort is None else effort)

    def measure_anew(self) -> None:
        """Measurements from now on have other coordinates. Call this only before the arm is taken up."""
        with self.lock:
            self._measured_state.forget()

    def read_joints(
        self, message: JointState, joints: Sequence[str], topic: str, also: Sequence[str] = ()
    ) -> JointMeasurement | None:
        """The arm's joints in a message of joint states; see ``control.safety.joint_measurements.read_joints``.

        :returns: measurements; None when the message has none of the arm's joints, or is impossible, which stops the
            arm.
        """
        return self._measured_state.read_joints(message, joints, topic, also)

    # --- ticks (ticker's thread) --------------------------------------------------------------------------------------

    def _tick(self) -> None:
        with self.lock:
            self._check_inputs()
            started = self.engaged or self.gate.moving
            setpoint = self.gate.tick()
            if started:
                self._measured_state.asked(setpoint)
            # A gripper that is held still gets its opening; one with a hand in it opens even while the arm is held.
            grips = setpoint.gripper is not None and (started or self.latch.closed or self.gate.releasing)
        if started and not self.dry_run:
            self.send(setpoint)
        if grips and not self.dry_run:
            self.send_gripper(setpoint.gripper)
        self._note_lateness(started)
        if started:
            self.reports.setpoint(self.gate.names, setpoint)
        self.tell_state()

    def tell_state(self) -> None:
        with self.lock:
            self.reports.state(*self._phase(), self.dry_run)

    def _note_lateness(self, sent: bool) -> None:
        with self.lock:
            problem = self.times.ticked(sent)
        if problem:
            # Latched, because it would come again: as long as the machine is busy, the arm would stop and continue by
            # itself, where nobody expects it to.
            self.stop_and_latch("late ticks", problem)

    def _phase(self) -> tuple[int, list[str], str]:
        """The parts of the driver's state: phase, reasons that hold the arm, and a line for a person."""
        with self.lock:
            held: list[str] = sorted(self.gate.inhibitors)
            if causes := self.latch.causes:
                held = [reason for reason in held if reason != "not started"]
                what = "; ".join(f"{cause}: {detail}" for cause, detail in causes.items())
                return DriverState.HELD, held, f"{what}; no service of the arm is called; {GO_ON}"
            doubt = self.contention or (self._clock_fault if "clock" in held else "")
            if "not started" in held or "joint states" in held:
                return DriverState.WAITING, held, doubt or self.detail or ("" if self.fresh else "no joint states")
            phase = DriverState.HELD if held else DriverState.MOVING if self.gate.moving else DriverState.READY
            return phase, held, doubt or self.detail

    def _check_inputs(self) -> None:
        silent, passed_s = self.description.limits.joint_state_timeout, self.times.begin_tick()
        # A driver that was frozen may first hear of the present, and then see that time has passed, in which nobody
        # heard the arm.
        if self.engaged and (passed_s > silent or not self.fresh):
            self.lose("joint states")
            frozen = f"this driver did nothing for {passed_s:.2g} s"
            self.stop_and_latch("arm lost", frozen if passed_s > silent else f"it said nothing usable for {silent:g} s")
        fault = self.times.clock_fault()
        self._clock_fault = fault or self._clock_fault
        if self.times.clock_jumped:
            self.goals.clock_jumped()
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
                "contact": self._measured_state.contact,
            }
