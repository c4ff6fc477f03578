"""The simulated arm, joint by joint, behind the topics and services of ``xs_sdk``: the WidowX driver drives it like the
real arm.
"""

import threading
import time

import numpy as np

from stvla_ros.control.safety.latch import CAUSES
from stvla_ros.errors import InputError
from stvla_ros.msg import DriverState
from stvla_ros.nodes.drivers.xs_interface import JOINT_STATES_HZ, XsInterface
from stvla_ros.nodes.kit.base import STATE_QOS, StvlaNode
from stvla_ros.nodes.simulation.reset_services import CALL_TIMEOUT_S, ResetServices
from stvla_ros.robots.embodiments import find_embodiment
from stvla_ros.robots.xs_settings import XsSettings
from stvla_ros.settings import build
from stvla_ros.sim.environment import Environment, Observation, StepResult

# Simulated time between two looks at the driver's commands, seconds.
_SLICE_S = 0.02
# Largest factor by which lost time is made up for relative to the clock: the driver distrusts an arm that moves faster
# than it can.
_MOST_HASTE = 1.5
# Duration of the silence, in multiples of the driver's timeouts: after it, no driver can think that the arm was never
# away.
_MISSED_TIMEOUTS = 2.0
# Time between two looks at the driver's state, seconds.
_LOOK_S = 0.1
_DRIVER_RESET = "widowx_driver/reset"


class JointPlant:
    """Make it in the node's ``configure``. The simulator's thread calls :meth:`reset` and :meth:`run`.

    :param environment: environment whose joints can be driven.
    :param stopping: event that ends all waiting.
    :raises InputError: when its robot has no driver of this kind.
    """

    def __init__(self, node: StvlaNode, environment: Environment, stopping: threading.Event) -> None:
        driver = find_embodiment(environment.info.robot).driver
        if driver is None or driver.executable != "widowx_driver":
            raise InputError(
                f"parameter joint_level: expected a task of the WidowX, {environment.info.robot} is another"
            )
        settings = build(XsSettings, dict(driver.settings), "driver.settings.")
        self._environment, self._node = environment, node
        self._driver_state, self._stopping = DriverState(), stopping
        self._driver_resets = ResetServices(node, [_DRIVER_RESET], stopping)
        limits = {name: driver.limits.joints[name] for name in driver.arm.joints}
        self._arm = SimulatedArm(settings)
        self._interface = XsInterface(node, settings, limits, self._arm)
        self._says = False
        self._ended = 0.0  # time.monotonic() at the end of the last period
        self._missed_s = _MISSED_TIMEOUTS * driver.limits.joint_state_timeout
        node.every(1.0 / JOINT_STATES_HZ, lambda: self._interface.publish() if node.is_active and self._says else None)

    def listen(self) -> None:
        self._interface.listen()
        self._node.subscribe(DriverState, "driver_state", self._on_driver_state, STATE_QOS, watched=False)

    def _on_driver_state(self, state: DriverState) -> None:
        self._driver_state = state

    def reset(self, episode_id: int, seed: int) -> Observation:
        """Reset the environment, which puts the arm elsewhere at once.

        To the driver this looks as if the arm were switched off, carried and switched on. The arm stays silent until
        the driver times out and stops; the driver then restarts from the arm's new position. The simulation resets this
        stop itself, because it caused it. Any other stop must be reset by a person.
        """
        self._says = False
        began = time.monotonic()
        observation = self._environment.reset(episode_id, seed)
        self._arm.place(*self._environment.arm_state())
        self._stopping.wait(max(0.0, began + self._missed_s - time.monotonic()))
        gives_up = time.monotonic() + CALL_TIMEOUT_S
        ready = DriverState.READY, DriverState.MOVING
        while self._driver_state.phase in ready and time.monotonic() < gives_up and not self._stopping.wait(_LOOK_S):
            pass
        self._says = True
        while set(self._driver_state.held_by) & set(CAUSES) == {"arm lost"} and time.monotonic() < gives_up:
            self._driver_resets.reset(gives_up)
            self._stopping.wait(_LOOK_S)
        return observation

    def run(self, began: float | None = None) -> StepResult:
        """Simulate one control period, then observe.

        Always a whole period. On a machine that is too slow, simulated time falls behind the clock, and so do the
        commands, which answer observations; the arm's motion is never skipped.

        :param began: beginning of the period, ``time.monotonic()``; None: the end of the period before, unless that was
            more than a period ago. So the time in which the arm stands still, as while it is observed, is made up for:
            at full speed the simulated arm is a quarter of a second behind its setpoints, and the driver stops an arm
            that is much more behind.
        """
        period_s = 1.0 / self._environment.info.control_hz
        if began is None:
            now = time.monotonic()
            began = self._ended if now - self._ended < period_s else now
        self._ended = began + period_s
        slices = round(period_s / _SLICE_S)
        for number in range(1, slices + 1):
            earliest = time.monotonic() + _SLICE_S / _MOST_HASTE
            self._environment.drive(*self._arm.wanted(), _SLICE_S)
            self._arm.measure(*self._environment.arm_state())
            if self._stopping.wait(max(0.0, max(began + number * _SLICE_S, earliest) - time.monotonic())):
                break
        return self._environment.observe()


class SimulatedArm:
    """The wanted and the measured state of the arm; shared by the simulator's and the executor's thread."""

    def __init__(self, settings: XsSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._goal, self._opening_goal = np.zeros(6), 1.0
        self._position, self._opening = np.zeros(6), 1.0
        self.profile_s, self.acceleration_s, self.torque = 2.0, 1.0, True

    def place(self, position: np.ndarray, opening: float) -> None:
        with self._lock:
            self._goal = self._position = position
            self._opening_goal = self._opening = opening

    def measure(self, position: np.ndarray, opening: float) -> None:
        with self._lock:
            self._position, self._opening = position, opening

    def wanted(self) -> tuple[np.ndarray, float]:
        with self._lock:
            return self._goal, self._opening_goal

    def position(self, now: float) -> np.ndarray:
        with self._lock:
            return self._position

    def effort(self, now: float) -> None:
        """None: simulated servos have no currents."""

    def finger(self, now: float) -> float:
        closed, opened = self._settings.finger_closed, self._settings.finger_open
        with self._lock:
            return closed + self._opening * (opened - closed)

    def command(self, goal: np.ndarray, now: float) -> list[int]:
        usable = np.isfinite(goal)
        with self._lock:
            self._goal = np.where(usable, goal, self._goal)
        return np.flatnonzero(~usable).tolist()

    def move_gripper(self, effort: float, now: float) -> None:
        with self._lock:
            self._opening_goal = 1.0 if effort > 0.0 else 0.0 if effort < 0.0 else self._opening

    def switch_torque(self, on: bool, now: float) -> None:
        with self._lock:
            self._goal, self.torque = self._position, on
