"""Setpoints that the arm does not follow: they give way to it once, as far as they caused the difference."""

from stvla_ros.control.safety.latch import Cause
from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver_base import DriverBase
from stvla_ros.nodes.drivers.driver_supervision import MeasuredState

_PERIOD_S = 0.05
# Causes for which setpoints give way: an arm must not press on somebody in its way. For all other causes it stays where
# it is.
_GIVES_WAY_TO: frozenset[Cause] = frozenset({"tracking", "contact"})


class GivingWay:
    """
    :param driver: driver whose arm was stopped for good.
    :param measured_state: state that tells how far the setpoints may give way.
    """

    def __init__(self, driver: DriverBase, measured_state: MeasuredState) -> None:
        self._driver, self._measured_state = driver, measured_state
        self._done = False

    def serve(self) -> None:
        """Begin to look. Call this from the node's ``configure``: it runs in the executor's thread, where all motions
        are planned.
        """
        self._driver.every(_PERIOD_S, self._let_go_when_due)

    def begin(self) -> None:
        """The arm was taken up. Call this with the driver's lock."""
        self._done = False

    def _let_go_when_due(self) -> None:
        """The cause of the stop is latched, and the setpoints came to rest: send nothing more, because a person who
        moves the arm meanwhile must not see it return. If the arm only did not follow, first lead the setpoints back to
        it.
        """
        driver = self._driver
        with driver.lock:
            if not (driver.is_active and driver.engaged and driver.latch.closed) or driver.gate.moving:
                return
            driver.engaged = not self._done and driver.gate.inhibitors <= _GIVES_WAY_TO and driver.fresh
            self._done = True
            if driver.engaged:
                self._give_way()

    def _give_way(self) -> None:
        driver, way = self._driver, self._measured_state.way_back()
        if way is None:
            driver.reject("tracking", "the arm is where no setpoint led it; the setpoints stay where they are")
            return
        try:
            driver.gate.yield_to(*way)
        except InputError as error:
            driver.reject("tracking", f"the setpoints stay where they are: {error}")
