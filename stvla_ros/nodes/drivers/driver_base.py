"""The common base of a driver's parts: the robot's description, the gate with its lock, the measurements."""

import threading
import time
from collections.abc import Sequence

import numpy as np

from stvla_ros.control.command_identity import GoalUnderWay
from stvla_ros.control.safety.admission import Inhibitor
from stvla_ros.control.safety.gate import SafetyGate
from stvla_ros.control.safety.kinematics import Kinematics
from stvla_ros.control.safety.latch import Cause
from stvla_ros.control.safety.limits import MODES
from stvla_ros.control.safety.measurements import Measurements
from stvla_ros.control.safety.requests import Setpoint
from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver_latch import DriverLatch
from stvla_ros.nodes.drivers.driver_reports import DriverReports
from stvla_ros.nodes.drivers.driver_times import DriverTimes
from stvla_ros.nodes.kit.base import StvlaNode
from stvla_ros.nodes.kit.service_sequence import Steps
from stvla_ros.robots.embodiments import DriverDescription, find_embodiment

GO_ON = "~/reset goes on"


class DriverBase(StvlaNode):
    """The methods that a robot's driver overrides, and the driver's attributes that its parts use.

    :ivar limits: limits in the chosen mode.
    :ivar gate: safety gate, to be used with ``lock``; None while the node is not configured.
    :ivar latch: latch that keeps the arm stopped until a person resets it; to be used with ``lock``.
    :ivar goals: rule that decides which goal's commands are executed; to be used with ``lock``.
    :ivar contention: topic with one publisher too many, and the publishers; empty when there is none.
    :ivar detail: explanation of the reason that holds the arm, in one line for a person.
    :ivar measurements: measurements of the robot's position; to be used with ``lock``.
    :ivar engaged: whether the robot is ready and takes setpoints.
    """

    reports: DriverReports

    def __init__(self, name: str) -> None:
        super().__init__(name)
        robot = self.parameter("robot", "", "embodiment, or a YAML file that describes one (config/robots)")
        self.dry_run = self.parameter("dry_run", False, "compute and show everything, send nothing to the robot")
        self.mode = self.parameter(
            "mode",
            "reduced",
            "reduced: no point of the arm faster than 0.25 m/s; full: by the robot's file",
            choices=MODES,
        )
        self.embodiment = find_embodiment(robot)
        if self.embodiment.driver is None:
            raise InputError(f"parameter robot: {robot} has no driver; it is in simulation alone")
        self.description: DriverDescription = self.embodiment.driver
        self.limits = self.description.limits.in_mode(self.mode)
        self.lock = threading.RLock()
        self.gate: SafetyGate | None = None
        self.detail = self.contention = ""
        self.engaged = False
        self._to_arm: tuple[str, ...] = ()
        self.latch = DriverLatch(self)
        self.goals = GoalUnderWay(self.embodiment.name)
        self.times = DriverTimes(self, 1.0 / self.description.tick_hz)
        self.measurements = Measurements(self.limits.joint_state_timeout)

    def make_gate(self, arm: Kinematics) -> SafetyGate:
        """Make the gate in front of the arm. Parts that it guards not at all, or not by their real form, are
        reported.
        """
        driver, period_s = self.description, 1.0 / self.embodiment.control_hz
        known = [np.array(position) for position in (driver.home, driver.rest) if position]
        gate = SafetyGate(arm, self.limits, 1.0 / driver.tick_hz, period_s, known)
        said = f"mode {self.mode}: no point of the arm moves at more than {self.limits.speed:g} m/s"
        for remark in filter(None, (said, gate.rules.touching, *gate.rules.remarks)):
            self.get_logger().info(remark)
        return gate

    # --- to override --------------------------------------------------------------------------------------------------

    def make_arm(self) -> Kinematics:
        """:raises InputError: when the description is incomplete."""
        raise NotImplementedError

    def connect(self) -> None:
        """Make publishers and clients. :raises InputError: when the robot's interfaces are not installed."""

    def exclusive_topics(self) -> Sequence[str]:
        """The topics that command the arm: while another node publishes on one, the arm is held. By default all topics
        that :meth:`connect` made publishers for; override it if others may publish on one of them.
        """
        return self._to_arm

    def listen(self) -> None:
        """Subscribe to the robot's measurements."""

    def engage(self) -> Steps:
        """Service calls that make the robot ready; the generator yields clients and requests, and is sent the
        responses. By default none.
        """
        yield from ()

    def begin(self) -> None:
        """The arm was taken up anew, and may be at another place: forget everything that was sent before. A driver must
        forget here whatever it remembers from one setpoint to the next. Called with the lock.
        """

    def known_opening(self) -> float | None:
        """The gripper's opening when the arm is taken up, 0..1; None if it is not known. A gripper that is commanded
        another opening than its own drops what it holds.
        """
        return self.opening

    def send(self, setpoint: Setpoint) -> None:
        """Send a setpoint to the arm. Called in the ticker's thread."""

    def send_gripper(self, opening: float) -> None:
        """Send an opening to the gripper, if there is one: 0 closed to 1 open. Called in the ticker's thread after
        :meth:`send`; called without it while the arm is held and gets nothing.
        """

    def check_gripper(self) -> Steps:
        """Service calls that find out whether the gripper can be commanded to open before the arm is taken up; they
        change nothing. By default none.
        """
        yield from ()

    # --- what the robot says ------------------------------------------------------------------------------------------

    @property
    def position(self) -> np.ndarray:
        """(n,) last measured position."""
        return self.measurements.last.position

    @property
    def opening(self) -> float:
        """Last measured opening of the gripper, 0..1."""
        return self.measurements.last.opening

    @property
    def fresh(self) -> bool:
        """Whether the robot reported its position a moment ago."""
        return self.measurements.fresh(time.monotonic())

    def take_up(self) -> None:
        """The arm is ready: begin at its measured position. :raises InputError: when that is impossible."""
        raise NotImplementedError

    def tell_state(self) -> None:
        """Publish the state now, and not with the next tick."""
        raise NotImplementedError

    def lose(self, reason: Inhibitor) -> None:
        """The arm is no longer ready; it is held until it is taken up anew. Call this with the lock."""
        self.gate.inhibit(reason)
        self.gate.leave_gripper()
        self.engaged = False

    def release_at_rest(self, reason: Inhibitor) -> None:
        """The reason no longer holds the arm; the arm first comes to rest. Call this with the lock."""
        if reason in self.gate.inhibitors and not self.gate.moving:
            self.gate.release(reason, self.times.now_ns)

    def stop_and_latch(self, cause: Cause, detail: str) -> None:
        """Brake, and stay stopped until ``~/reset``. May be called from any thread while the node is configured, as
        often as necessary.

        :param detail: description of the cause, for a person.
        """
        with self.lock:
            self.gate.inhibit(cause)
            new = self.latch.close(cause, detail)
        if new:
            self.get_logger().warning(f"stopped: {cause}: {detail}; {GO_ON}")

    def move_to(self, position: np.ndarray) -> str:
        """Start a motion to a position (n,); see ``SafetyGate.plan_way``. Call this in the executor's thread, where all
        motions are planned.

        :returns: message for a person.
        :raises InputError: when the arm is held, or a limit is in the way.
        """
        with self.lock:
            departure = self.gate.prepare_way()
        motion = self.gate.plan_way(position, departure)
        with self.lock:
            seconds = self.gate.accept_way(departure, motion, self.times.now_ns)
        return f"on the way, {seconds:.1f} s"
