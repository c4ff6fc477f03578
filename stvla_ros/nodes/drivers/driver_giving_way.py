"""What becomes of setpoints that an arm does not follow: they give way to it once, as far as they caused it."""

from stvla_ros.control.safety.latch import Cause
from stvla_ros.errors import InputError
from stvla_ros.nodes.drivers.driver_base import DriverBase
from stvla_ros.nodes.drivers.driver_supervision import MeasuredState

_PERIOD_S = 0.05
# Whoever is in the arm's way must not be pressed on. For all else it stays where it is.
_GIVES_WAY_TO: frozenset[Cause] = frozenset({"tracking", "contact"})


class GivingWay:
    """
    :param driver: whose arm was stopped for good.
    :param measured_state: knows how far its setpoints may give way.
    """

    def __init__(self, driver: DriverBase, measured_state: MeasuredState) -> None:
        self._driver, self._measured_state = driver, measured_state
        self._done = False

    def serve(self) -> None:
        """Begin to look. To be called from the node's ``configure``: in the executor's thread, where all motions are
        planned.
        """
        self._driver.every(_PERIOD_S, self._let_go_when_due)

    def begin(self) -> None:
        """The arm was taken up. To be called with the driver's lock."""
        self._done = False

    def _let_go_when_due(self) -> None:
        """What stopped the arm is latched, and its setpoints came to rest: say nothing more, because whoever moves it
        meanwhile must not see it come back. Where it only does not follow, lead them back to it before that.
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
