"""What every robot's driver does: commands through the safety gate, setpoints at the robot's rate, stops.

A subclass says how the robot is told and what it tells; see :class:`DriverNode`.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from stvla_ros.control.safety.gate import Inhibitor, SafetyGate, Setpoint
from stvla_ros.control.safety.kinematics import Kinematics
from stvla_ros.control.safety.measurements import Measurements
from stvla_ros.control.safety.watches import ClockWatch, TrackingWatch
from stvla_ros.errors import InputError
from stvla_ros.msg import CommandVerdict, DriverState, EndEffectorCommand
from stvla_ros.nodes.drivers.deadman import Deadman
from stvla_ros.nodes.drivers.driver_reports import DriverReports
from stvla_ros.nodes.kit.base import LATCHED_QOS, RELIABLE_QOS, StvlaNode
from stvla_ros.nodes.kit.messages import command_to_action, stamp_ns
from stvla_ros.nodes.kit.service_sequence import ServiceSequence, Steps
from stvla_ros.nodes.kit.threads import Ticker
from stvla_ros.robots.embodiments import DriverDescription, find_embodiment

GO_ON = "~/reset goes on"
_ENGAGE_PERIOD_S = 0.05
_CALL_TIMEOUT_S = 5.0
_RETRY_S = 1.0
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
        self._home_first = self.parameter("home_first", False, "move to the home position as soon as the robot is up")
        self._deadman = Deadman(self)
        self.embodiment = find_embodiment(robot)
        if self.embodiment.driver is None:
            raise InputError(f"parameter robot: {robot} has no driver; it is in simulation alone")
        if self._home_first and not self.embodiment.driver.home:
            raise InputError(f"parameter home_first: {robot} has no driver.home")
        self.description: DriverDescription = self.embodiment.driver
        self._lock = threading.RLock()
        self._gate: SafetyGate | None = None
        self._ticker: Ticker | None = None
        self._engaging: ServiceSequence | None = None
        self._engaged, self._yielded = False, False
        self._retry_at = 0.0
        self._detail = ""
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
        self._gate = SafetyGate(self.make_arm(), limits, 1.0 / self.description.tick_hz, 1.0 / control_hz)
        self._reports = DriverReports(self, self.embodiment.base_frame)
        self._offer_services()
        self._deadman.serve()
        self.connect()
        # In the executor's thread, because answers of services come there.
        self.every(_ENGAGE_PERIOD_S, self._engage_when_due)

    def activate(self) -> None:
        with self._lock:
            self._engaged, self._engaging = False, None
            self._measurements = Measurements(self.description.limits.joint_state_timeout)
            self._clock_watch = ClockWatch()
            self._gate.inhibit("not started")
            self._gate.release("driver", self.now_ns())
        self.listen()
        self.subscribe(EndEffectorCommand, "command", self._on_command, watched=False)
        # An emergency stop said before this node came must be heard, and so must one by `ros2 topic pub`.
        for qos in (RELIABLE_QOS, LATCHED_QOS):
            self.subscribe(Bool, "estop", self._on_estop, qos, watched=False)
        self._deadman.subscribe()
        self._ticker = Ticker(1.0 / self.description.tick_hz, self._tick, self.survive)
        self.on_stop_inputs(self._come_to_rest)

    def _come_to_rest(self) -> None:
        """The node is deactivated or ends: stop within a control period, then say nothing more. The robot holds its
        last setpoint; its torque stays on.
        """
        with self._lock:
            self._gate.inhibit("driver")
        self._engaging = None
        ends = time.monotonic() + _STOP_TIMEOUT_S
        while self._gate.moving and time.monotonic() < ends:
            time.sleep(0.005)
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None

    def cleanup(self) -> None:
        self._gate = None

    # --- what the robot says ------------------------------------------------------------------------------------------

    def measured(self, position: np.ndarray, opening: float, topic: str, stamp_ns: int) -> bool:
        """Take what the robot measured; see :meth:`Measurements.take`. :returns: whether it counts."""
        try:
            with self._lock:
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
        return self._engaged

    @property
    def fresh(self) -> bool:
        """Whether the robot said a moment ago where it is."""
        return self._measurements.fresh(time.monotonic())

    def _engage_when_due(self) -> None:
        """Bring the robot up, and up again after it was away: it may have forgotten its settings, and been moved."""
        if not self.is_active or self._engaged or not self.fresh or time.monotonic() < self._retry_at:
            return
        if self._gate.moving or "tracking" in self._gate.inhibitors:
            return
        if self._engaging is None:
            # A dry run leaves the robot as it is.
            steps = DriverNode.engage(self) if self.dry_run else self.engage()
            self._engaging = ServiceSequence(steps, _CALL_TIMEOUT_S)
        try:
            self._engaging.poll()
            if not self._engaging.done:
                return
            with self._lock:
                self._gate.start(self.position, self.opening, self.now_ns())
                self._gate.release("joint states", self.now_ns())
                self._engaged, self._yielded, self._detail = True, False, ""
                self._tracking.reset()
            self.get_logger().info("ready: the arm holds where it is, commands are accepted")
            if self._home_first:
                self._home_first = False
                self._move_to(np.array(self.description.home))
        except InputError as error:
            self._detail = str(error)
            self._retry_at = time.monotonic() + _RETRY_S
            self.reject("engage", str(error))
        self._engaging = None

    # --- ticks (ticker's thread) --------------------------------------------------------------------------------------

    def _tick(self) -> None:
        with self._lock:
            self._check_inputs()
            started = self._engaged or self._gate.moving
            if "tracking" in self._gate.inhibitors and started and not self._gate.moving:
                self._let_go()
            setpoint = self._gate.tick()
        if started and not self.dry_run:
            self.send(setpoint)
        if started:
            self._reports.setpoint(self._gate.names, setpoint)
        self._reports.state(*self._phase(), self.dry_run)

    def _let_go(self) -> None:
        """The arm does not follow, and its setpoints came to rest. Lead them once to where it is, so that it does not
        press on; then say nothing: whoever moves it meanwhile must not see it come back.
        """
        if self.fresh and not self._yielded and self._gate.inhibitors == {"tracking"}:
            self._yielded = True
            try:
                self._gate.yield_to(self.position)
                return
            except InputError as error:
                self.reject("tracking", str(error))
        self._gate.inhibit("not started")
        self._engaged = False

    def _phase(self) -> tuple[int, list[str], str]:
        """For the driver's state: phase, what holds the arm, a line for a person."""
        with self._lock:
            held: list[str] = sorted(self._gate.inhibitors)
            if "tracking" not in held and ("not started" in held or "joint states" in held):
                return DriverState.WAITING, held, self._detail or ("" if self.fresh else "no joint states")
            phase = DriverState.HELD if held else DriverState.MOVING if self._gate.moving else DriverState.READY
            return phase, held, self._detail

    def _check_inputs(self) -> None:
        if not self.fresh:
            if self._engaged:
                self._gate.inhibit("joint states")
                self._engaged = False
        elif self._engaged and not self.dry_run:
            lost = self._tracking.lost(self.position, self._gate.position, time.monotonic())
            if lost is not None and "tracking" not in self._gate.inhibitors:
                self._detail = f"{self._gate.names[lost]} does not follow; {GO_ON}"
                self._gate.inhibit("tracking")
        holding: dict[Inhibitor, bool] = {
            "deadman": not self._deadman.held,
            "clock": self._clock_watch.jumped(self.now_ns(), time.monotonic_ns()),
        }
        for reason, holds in holding.items():
            if holds:
                self._gate.inhibit(reason)
            else:
                self._release(reason)

    def _release(self, reason: Inhibitor) -> None:
        # Not while it brakes: the arm comes to rest first.
        if reason in self._gate.inhibitors and not self._gate.moving:
            self._gate.release(reason, self.now_ns())

    # --- commands (executor's thread) ---------------------------------------------------------------------------------

    def _on_command(self, message: EndEffectorCommand) -> None:
        started = time.monotonic()
        self.stage.received()
        verdict = CommandVerdict(header=message.header)
        try:
            if message.header.frame_id not in ("", self.embodiment.base_frame):
                raise InputError(
                    f"topic command: expected frame_id {self.embodiment.base_frame}, got {message.header.frame_id!r}"
                )
            action = command_to_action(message, "command")
        except InputError as error:
            self.reject("command", str(error))
            with self._lock:
                self._gate.counts["refused: not a command"] += 1
            verdict.refused = str(error)
        else:
            stamp = stamp_ns(message.header)
            with self._lock:
                made = self._gate.command(action, stamp, self.now_ns())
            verdict.executed, verdict.clipped, verdict.refused = made.executed, list(made.clipped), made.refused
            if made.executed:
                self.stage.published(self.latency_s(stamp), time.monotonic() - started)
            else:
                self.stage.dropped(made.refused.partition(":")[0])
        self._reports.verdict(verdict)

    # --- stops and ways (executor's thread) ---------------------------------------------------------------------------

    def _offer_services(self) -> None:
        offered = {"estop": lambda: self._estop("service"), "reset": self._reset}
        for name in ("home", "rest"):
            if position := getattr(self.description, name):
                offered[name] = partial(self._move_to, np.array(position))
        for name, act in offered.items():
            self.create_service(Trigger, f"~/{name}", partial(_answer, act))

    def _on_estop(self, message: Bool) -> None:
        if message.data:
            self._estop("topic estop")

    def _estop(self, source: str) -> str:
        with self._lock:
            new = "estop" not in self._gate.inhibitors
            self._gate.inhibit("estop")
        if new:
            self.get_logger().warning(f"emergency stop by {source}; {GO_ON}")
        return f"stopped; {GO_ON}"

    def _reset(self) -> str:
        with self._lock:
            if self._gate.moving:
                raise InputError("the arm still moves; try again")
            self._detail = ""
            # Somebody may have moved the arm meanwhile: it is taken up where it is, as at the start.
            self._gate.inhibit("not started")
            self._engaged = False
            for reason in ("estop", "tracking"):
                self._gate.release(reason, self.now_ns())
        return "released; driver_state says when commands are accepted"

    def _move_to(self, position: np.ndarray) -> str:
        with self._lock:
            seconds = self._gate.move_to(position, self.now_ns())
        return f"on the way, {seconds:.1f} s"

    def extra_diagnostics(self) -> dict[str, Any]:
        if self._gate is None:
            return {}
        with self._lock:
            return dict(self._gate.counts) | {
                "held_by": ", ".join(sorted(self._gate.inhibitors)),
                "idle": self._gate.idle,
            }


def _answer(act: Callable[[], str], request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
    try:
        response.success, response.message = True, act()
    except InputError as error:
        response.success, response.message = False, str(error)
    return response
