"""What every robot's driver does: commands through the safety gate, setpoints at the robot's rate, stops.

A subclass says how the robot is told and what it tells; see :class:`DriverNode`.
"""

import threading
import time
from typing import Any

import numpy as np

from stvla_ros.control.safety.gate import Inhibitor, SafetyGate, Setpoint
from stvla_ros.control.safety.kinematics import Kinematics
from stvla_ros.control.safety.measurements import Measurements
from stvla_ros.control.safety.watches import ClockWatch, TrackingWatch
from stvla_ros.errors import InputError
from stvla_ros.msg import DriverState
from stvla_ros.nodes.drivers.deadman import Deadman
from stvla_ros.nodes.drivers.driver_commands import DriverCommands
from stvla_ros.nodes.drivers.driver_engagement import Engagement
from stvla_ros.nodes.drivers.driver_reports import DriverReports
from stvla_ros.nodes.drivers.driver_stops import GO_ON, DriverStops
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.service_sequence import Steps
from stvla_ros.nodes.kit.threads import Ticker
from stvla_ros.robots.embodiments import DriverDescription, find_embodiment

_STOP_TIMEOUT_S = 2.0


class DriverNode(StvlaNode):
    """
    Subclasses override

    * :meth:`make_arm`: the geometry,
    * :meth:`connect`: make publishers and clients (in ``configure``),
    * :meth:`listen`: subscribe to what the robot says (in ``activate``), and give it to :meth:`measured`,
    * :meth:`engage`: the service calls that make the robot ready to take setpoints,
    * :meth:`send`: one setpoint to the robot (called in the ticker's thread).
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        robot = self.parameter("robot", "", "embodiment, or a YAML file that describes one (config/robots)")
        self.dry_run = self.parameter("dry_run", False, "compute and show everything, send nothing to the robot")
        home_first = self.parameter("home_first", False, "move to the home position as soon as the robot is up")
        self._deadman = Deadman(self)
        self.embodiment = find_embodiment(robot)
        if self.embodiment.driver is None:
            raise InputError(f"parameter robot: {robot} has no driver; it is in simulation alone")
        if home_first and not self.embodiment.driver.home:
            raise InputError(f"parameter home_first: {robot} has no driver.home")
        self.description: DriverDescription = self.embodiment.driver
        self.lock = threading.RLock()
        self.gate: SafetyGate | None = None
        self._ticker: Ticker | None = None
        self._yielded = False
        self.detail = ""
        self.engagement = Engagement(self, home_first)
        self._stops, self._commands = DriverStops(self), DriverCommands(self)
        limits = self.description.limits
        self._measurements = Measurements(limits.joint_state_timeout)
        self._tracking, self._clock_watch = TrackingWatch(limits.tracking_error, limits.tracking_time), ClockWatch()

    # --- to override --------------------------------------------------------------------------------------------------

    def make_arm(self) -> Kinematics:
        """:raises InputError: when the description lacks something."""
        raise NotImplementedError

    def connect(self) -> None:
        """Make publishers and clients. :raises InputError: when the robot's interfaces are not installed."""

    def listen(self) -> None:
        """Subscribe to what the robot says of itself."""

    def engage(self) -> Steps:
        """Service calls that make the robot ready; yields clients and requests, is sent the responses. Here none."""
        yield from ()

    def send(self, setpoint: Setpoint) -> None:
        """Tell the robot. Called in the ticker's thread."""

    # --- lifecycle ----------------------------------------------------------------------------------------------------

    def configure(self) -> None:
        limits, control_hz = self.description.limits, self.embodiment.control_hz
        self.gate = SafetyGate(self.make_arm(), limits, 1.0 / self.description.tick_hz, 1.0 / control_hz)
        self.reports = DriverReports(self, self.embodiment.base_frame)
        self._stops.serve()
        self._deadman.serve()
        self.connect()
        self.engagement.serve()

    def activate(self) -> None:
        with self.lock:
            self.engagement.lose("not started")
            self.engagement.give_up()
            self._measurements = Measurements(self.description.limits.joint_state_timeout)
            self._clock_watch = ClockWatch()
            self.gate.release("driver", self.now_ns())
        self.listen()
        self._commands.subscribe()
        self._stops.subscribe()
        self._deadman.subscribe()
        self._ticker = Ticker(1.0 / self.description.tick_hz, self._tick, self.survive)
        self.on_stop_inputs(self._come_to_rest)

    def _come_to_rest(self) -> None:
        """The node is deactivated or ends: stop within a control period, then say nothing more. The robot holds its
        last setpoint; its torque stays on.
        """
        with self.lock:
            self.gate.inhibit("driver")
        self.engagement.give_up()
        ends = time.monotonic() + _STOP_TIMEOUT_S
        while self.gate.moving and time.monotonic() < ends:
            time.sleep(0.005)
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None

    def cleanup(self) -> None:
        self.gate = None

    # --- what the robot says ------------------------------------------------------------------------------------------

    def measured(self, position: np.ndarray, opening: float, topic: str, stamp_ns: int) -> bool:
        """Take what the robot measured; see :meth:`Measurements.take`. :returns: whether it counts."""
        try:
            with self.lock:
                self._measurements.take(position, opening, stamp_ns, self.now_ns(), time.monotonic())
        except InputError as error:
            self.reject(topic, f"topic {topic}: {error}")
            return False
        return True

    @property
    def position(self) -> np.ndarray:
        """(n,) as last measured."""
        return self._measurements.last.position

    @property
    def opening(self) -> float:
        """Of the gripper, as last measured, 0..1."""
        return self._measurements.last.opening

    @property
    def engaged(self) -> bool:
        """Whether the robot is up and takes setpoints."""
        return self.engagement.done

    @property
    def fresh(self) -> bool:
        """Whether the robot said a moment ago where it is."""
        return self._measurements.fresh(time.monotonic())

    def take_up(self) -> None:
        """The arm is up: begin where it is measured to be. :raises InputError: where it cannot be."""
        with self.lock:
            self.gate.start(self.position, self.opening, self.now_ns())
            self.gate.release("joint states", self.now_ns())
            self.engagement.done, self._yielded, self.detail = True, False, ""
            self._tracking.reset()

    def move_to(self, position: np.ndarray) -> str:
        """Set out for a position (n,); see ``SafetyGate.move_to``. :returns: a line for a person."""
        with self.lock:
            seconds = self.gate.move_to(position, self.now_ns())
        return f"on the way, {seconds:.1f} s"

    # --- ticks (ticker's thread) --------------------------------------------------------------------------------------

    def _tick(self) -> None:
        with self.lock:
            self._check_inputs()
            started = self.engaged or self.gate.moving
            if "tracking" in self.gate.inhibitors and started and not self.gate.moving:
                self._let_go()
            setpoint = self.gate.tick()
        if started and not self.dry_run:
            self.send(setpoint)
        if started:
            self.reports.setpoint(self.gate.names, setpoint)
        self.reports.state(*self._phase(), self.dry_run)

    def _let_go(self) -> None:
        """The arm does not follow, and its setpoints came to rest. Lead them once to where it is, so that it does not
        press on; then say nothing: whoever moves it meanwhile must not see it come back.
        """
        if self.fresh and not self._yielded and self.gate.inhibitors == {"tracking"}:
            self._yielded = True
            try:
                self.gate.yield_to(self.position)
                return
            except InputError as error:
                self.reject("tracking", str(error))
        self.engagement.lose("not started")

    def _phase(self) -> tuple[int, list[str], str]:
        """For the driver's state: phase, what holds the arm, a line for a person."""
        with self.lock:
            held: list[str] = sorted(self.gate.inhibitors)
            if "tracking" not in held and ("not started" in held or "joint states" in held):
                return DriverState.WAITING, held, self.detail or ("" if self.fresh else "no joint states")
            phase = DriverState.HELD if held else DriverState.MOVING if self.gate.moving else DriverState.READY
            return phase, held, self.detail

    def _check_inputs(self) -> None:
        if not self.fresh:
            if self.engaged:
                self.engagement.lose("joint states")
        elif self.engaged and not self.dry_run:
            lost = self._tracking.lost(self.position, self.gate.position, time.monotonic())
            if lost is not None and "tracking" not in self.gate.inhibitors:
                self.detail = f"{self.gate.names[lost]} does not follow; {GO_ON}"
                self.gate.inhibit("tracking")
        holding: dict[Inhibitor, bool] = {
            "deadman": not self._deadman.held,
            "clock": self._clock_watch.jumped(self.now_ns(), time.monotonic_ns()),
        }
        for reason, holds in holding.items():
            if holds:
                self.gate.inhibit(reason)
            else:
                self._release(reason)

    def _release(self, reason: Inhibitor) -> None:
        # Not while it brakes: the arm comes to rest first.
        if reason in self.gate.inhibitors and not self.gate.moving:
            self.gate.release(reason, self.now_ns())

    def extra_diagnostics(self) -> dict[str, Any]:
        if self.gate is None:
            return {}
        with self.lock:
            return dict(self.gate.counts) | {
                "held_by": ", ".join(sorted(self.gate.inhibitors)),
                "idle": self.gate.idle,
            }
