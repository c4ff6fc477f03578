"""Takes up the arm: when the robot reports its position, and again after it was away."""

import time

import numpy as np

from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver_base import DriverBase
from stvla_ros.nodes.drivers.driver_supervision import MeasuredState
from stvla_ros.nodes.kit.service_sequence import ServiceSequence, Steps

_PERIOD_S = 0.05
_CALL_TIMEOUT_S = 5.0
_RETRY_S = 1.0


class Engagement:
    """
    :param driver: driver whose arm is taken up.
    :param measured_state: state that tells whether the arm rests.
    :param home_first: whether the arm moves to its home position as soon as it is ready for the first time. The person
        who starts the driver asks for this. Neither a reset nor an automatic restart of the driver counts as asking.
    """

    def __init__(self, driver: DriverBase, measured_state: MeasuredState, home_first: bool) -> None:
        self._driver, self._measured_state, self._home_first = driver, measured_state, home_first
        self._sequence: ServiceSequence | None = None
        self._retry_at = 0.0

    def serve(self) -> None:
        """Begin to look. Call this from the node's ``configure``: it runs in the executor's thread, because answers of
        services come there.
        """
        self._driver.every(_PERIOD_S, self._engage_when_due)

    def give_up(self) -> None:
        """Forget the pending calls."""
        self._sequence = None

    def _engage_when_due(self) -> None:
        """Make the robot ready, and ready again after it was away: it may have forgotten its settings, and been
        moved.
        """
        driver = self._driver
        if driver.latch.closed:
            # What a person switched off stays off: no service of the arm is called before the reset.
            self._sequence = None
            return
        if driver.engaged and self._home_first:
            self._go_home_when_free()
        if not driver.is_active or driver.engaged or not driver.fresh or time.monotonic() < self._retry_at:
            return
        if driver.gate.moving or "second publisher" in driver.gate.inhibitors:
            return
        if not self._rests():
            return
        if self._sequence is None:
            # A dry run leaves the robot as it is.
            steps = _nothing() if driver.dry_run else driver.engage()
            self._sequence = ServiceSequence(steps, _CALL_TIMEOUT_S)
        try:
            self._sequence.poll()
            # The services took some time, and the arm may have sagged a little.
            if not self._sequence.done or not self._rests():
                return
            driver.take_up()
            driver.get_logger().info("ready: the arm holds where it is, commands are accepted")
        except InputError as error:
            driver.detail = str(error)
            self._retry_at = time.monotonic() + _RETRY_S
            driver.reject("engage", str(error))
        self._sequence = None

    def _rests(self) -> bool:
        """Only an arm at rest is taken up: setpoints begin at its position, and it must not have moved by then."""
        with self._driver.lock:
            restless = self._measured_state.restless()
            if restless:
                self._driver.detail = restless
            return not restless

    def _go_home_when_free(self) -> None:
        """What holds an arm at the start (a recording's clock that does not run yet, a switch that is not pressed) ends
        nothing that was asked for.
        """
        driver = self._driver
        if problem := driver.latch.why_not_home():
            self._home_first = False
            driver.get_logger().warning(f"home_first: the arm stays where it is: {problem}; ~/home moves it")
            return
        with driver.lock:
            if driver.gate.inhibitors or driver.gate.moving:
                return
        self._home_first = False
        try:
            driver.latch.homed()
            driver.move_to(np.array(driver.description.home))
        except InputError as error:
            driver.detail = str(error)
            driver.reject("home_first", f"home_first: {error}")


def _nothing() -> Steps:
    yield from ()
